// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Limits of code that is not a test.
const (
	maxFile    = 450 // lines
	maxFunc    = 80
	maxFuncP90 = 40
)

func TestSizes(t *testing.T) {
	var all []int
	for _, f := range load(t) {
		if f.test {
			continue
		}
		if n := f.lines(); n > maxFile {
			t.Errorf("%s has %d lines, more than %d", f.name, n, maxFile)
		}
		f.functions(func(name string, d *ast.FuncDecl) {
			n := f.fset.Position(d.End()).Line - f.line(d) + 1
			all = append(all, n)
			if n > maxFunc {
				t.Errorf("%s: %s has %d lines, more than %d", f.name, name, n, maxFunc)
			}
		})
	}
	slices.Sort(all)
	p90 := all[len(all)*9/10]
	t.Logf("%d functions, median %d lines, p90 %d, longest %d", len(all), all[len(all)/2], p90, all[len(all)-1])
	if p90 > maxFuncP90 {
		t.Errorf("p90 of function lengths is %d lines, more than %d", p90, maxFuncP90)
	}
}

func TestLicenceLine(t *testing.T) {
	want := []byte("// SPDX-License-Identifier: Apache-2.0\n")
	for _, f := range load(t) {
		if !bytes.HasPrefix(f.src, want) {
			t.Errorf("%s does not begin with %q", f.name, want)
		}
	}
}

func TestPackageDocs(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range load(t) {
		if !f.test {
			documented[f.pkg] = documented[f.pkg] || f.ast.Doc != nil
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}

func TestUnsafe(t *testing.T) {
	packages := exceptions(t, "unsafe")
	for _, f := range load(t) {
		for _, bad := range checkUnsafe(f, packages.allows) {
			t.Error(bad)
		}
	}
}

// checkUnsafe wants unsafe and linkname only in *_unsafe.go files of the packages that may have
// them.
func checkUnsafe(f *file, allows func(pkg string) bool) []string {
	if !slices.Contains(f.imports(), "unsafe") && !bytes.Contains(f.src, []byte("\n//go:linkname ")) {
		return nil
	}
	var bad []string
	if !strings.HasSuffix(f.name, "_unsafe.go") && !strings.HasSuffix(f.name, "_unsafe_test.go") {
		bad = append(bad, f.name+": uses unsafe, and is not named *_unsafe.go")
	}
	if !allows(f.pkg) {
		bad = append(bad, fmt.Sprintf("%s: uses unsafe, which allow.txt does not allow to package %s", f.name, f.pkg))
	}
	return bad
}

// setID matches calls that change the ids of the whole process (x/sys and syscall go through all
// threads), and numbers of the raw calls that change those of a thread.
var setID = regexp.MustCompile(`^(Set(u|g|eu|eg|reu|reg|resu|resg|fsu|fsg)id|Setgroups|SYS_SET(U|G|REU|REG|RESU|RESG|FSU|FSG)ID(32)?|SYS_SETGROUPS(32)?|AllThreadsSyscall6?)$`)

// TestIdsChangeInOnePlace keeps the ids of threads in the hands of internal/creds; internal/seccomp has
// the numbers of those calls in a list.
func TestIdsChangeInOnePlace(t *testing.T) {
	for _, f := range load(t) {
		if f.helper() || f.pkg == "internal/creds" || f.pkg == "internal/sys" || f.name == "internal/seccomp/list.go" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if pkg, name, ok := selected(n); ok && (pkg == "unix" || pkg == "syscall") && setID.MatchString(name) {
				t.Errorf("%s:%d: %s.%s: ids are changed by internal/creds only", f.name, f.line(n), pkg, name)
			}
			return true
		})
	}
}

// TestLibrariesReturnErrors: what is not a command or a test does not end the process and prints
// nothing.
func TestLibrariesReturnErrors(t *testing.T) {
	may := exceptions(t, "panic")
	for _, f := range load(t) {
		if f.helper() || f.ast.Name.Name == "main" {
			continue
		}
		if slices.Contains(f.imports(), "log") {
			t.Errorf("%s: imports log: use the logger that the caller gave", f.name)
		}
		f.functions(func(name string, d *ast.FuncDecl) {
			ast.Inspect(d.Body, func(n ast.Node) bool {
				if what := endsOrPrints(n); what != "" && !may.allows(f.name+":"+name) {
					t.Errorf("%s:%d: %s in %s: return an error, or say in allow.txt why not", f.name, f.line(n), what, name)
				}
				return true
			})
		})
	}
}

// endsOrPrints names the call n if it ends the process or prints past the logger.
func endsOrPrints(n ast.Node) string {
	c, ok := n.(*ast.CallExpr)
	if !ok {
		return ""
	}
	if id, ok := c.Fun.(*ast.Ident); ok && slices.Contains([]string{"panic", "print", "println"}, id.Name) {
		return id.Name
	}
	pkg, name, ok := selected(c.Fun)
	switch {
	case !ok:
	case pkg == "os" && name == "Exit", (pkg == "syscall" || pkg == "unix") && name == "Exit",
		pkg == "fmt" && slices.Contains([]string{"Print", "Println", "Printf"}, name):
		return pkg + "." + name
	case name == "Fatal" || name == "Panic" || name == "DPanic" || name == "Fatalf" || name == "Panicf":
		return pkg + "." + name
	}
	return ""
}

// TestSkips: a test that can skip is listed, with its reason, so that no skip reads as a pass.
func TestSkips(t *testing.T) {
	may := exceptions(t, "skip")
	for _, f := range load(t) {
		f.functions(func(name string, d *ast.FuncDecl) {
			ast.Inspect(d.Body, func(n ast.Node) bool {
				c, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				x, what, ok := selected(c.Fun)
				if ok && x != "zap" && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, what) && !may.allows(f.name+":"+name) {
					t.Errorf("%s:%d: %s in %s: let it fail, or say in allow.txt why not", f.name, f.line(n), what, name)
				}
				return true
			})
		})
	}
}

// TestRulesThemselves: each rule finds what it is there for.
func TestRulesThemselves(t *testing.T) {
	for call, want := range map[string]string{
		`panic("x")`: "panic", `os.Exit(1)`: "os.Exit", `unix.Exit(1)`: "unix.Exit", `fmt.Println()`: "fmt.Println",
		`logger.Fatal("x")`: "logger.Fatal", `println()`: "println",
		`fmt.Fprintln(w)`: "", `recover()`: "", `log.Warn("x")`: "", `t.Error()`: "",
	} {
		f, err := parseSource("p/x.go", []byte("package p\nfunc (t *T[K]) f() { "+call+" }\n"))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		f.functions(func(name string, d *ast.FuncDecl) {
			if name != "T.f" {
				t.Errorf("the function's name is %q, want T.f", name)
			}
			ast.Inspect(d, func(n ast.Node) bool { got += endsOrPrints(n); return true })
		})
		if got != want {
			t.Errorf("%s: found %q, want %q", call, got, want)
		}
	}
	for name, want := range map[string]int{"p/x.go": 2, "p/x_unsafe.go": 1, "ok/x.go": 1, "ok/x_unsafe.go": 0, "ok/x_unsafe_test.go": 0} {
		f, err := parseSource(name, []byte("package p\nimport _ \"unsafe\"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if bad := checkUnsafe(f, func(pkg string) bool { return pkg == "ok" }); len(bad) != want {
			t.Errorf("unsafe in %s: %q, want %d complaints", name, bad, want)
		}
	}
	for name, want := range map[string]bool{"Setresuid": true, "Setgroups": true, "SYS_SETRESGID": true, "SYS_SETFSUID": true,
		"AllThreadsSyscall": true, "Setrlimit": false, "Setsid": false, "Setxattr": false, "SYS_SETXATTR": false} {
		if setID.MatchString(name) != want {
			t.Errorf("%s counts as a change of ids: %v, want %v", name, !want, want)
		}
	}
}

// selected takes x.Name apart where x is a plain identifier.
func selected(n ast.Node) (x, name string, ok bool) {
	s, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", "", false
	}
	id, ok := s.X.(*ast.Ident)
	if !ok {
		return "", "", false
	}
	return id.Name, s.Sel.Name, true
}
