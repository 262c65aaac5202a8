// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/virtiofsd-go/virtiofsd-go"

// root is the repository, seen from this package's folder.
const root = "../.."

// file is one parsed Go file of the repository.
type file struct {
	name string // from the repository's root, with slashes
	pkg  string // its folder; "." for the root package
	test bool   // *_test.go
	src  []byte
	fset *token.FileSet
	ast  *ast.File
}

// helper tells whether f is only ever part of tests: a test file, or anything under test/.
func (f *file) helper() bool { return f.test || strings.HasPrefix(f.name, "test/") }

// imports are the paths that f imports.
func (f *file) imports() []string {
	var paths []string
	for _, i := range f.ast.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			panic(err) // the parser took it
		}
		paths = append(paths, p)
	}
	return paths
}

// line is where n stands.
func (f *file) line(n ast.Node) int { return f.fset.Position(n.Pos()).Line }

// load returns all Go files of the repository. They are parsed once and only read.
func load(t *testing.T) []*file {
	t.Helper()
	files, err := loadOnce()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d Go files found: the walk is broken", len(files))
	}
	return files
}

var loadOnce = sync.OnceValues(func() (files []*file, err error) {
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != root && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(p, ".go"):
			return nil
		}
		f, err := parse(p)
		files = append(files, f)
		return err
	})
	return files, err
})

func parse(p string) (*file, error) {
	src, err := os.ReadFile(p)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(root, p)
	if err != nil {
		return nil, err
	}
	return parseSource(filepath.ToSlash(rel), src)
}

func parseSource(name string, src []byte) (*file, error) {
	f := &file{name: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), src: src, fset: token.NewFileSet()}
	var err error
	f.ast, err = parser.ParseFile(f.fset, name, src, parser.ParseComments)
	return f, err
}

// lines is the number of lines of f.
func (f *file) lines() int { return bytes.Count(f.src, []byte("\n")) }

// functions calls fn for each function declaration with a body.
func (f *file) functions(fn func(name string, d *ast.FuncDecl)) {
	for _, d := range f.ast.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
			fn(funcName(d), d)
		}
	}
}

// funcName is "F", or "T.M" for a method.
func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}
