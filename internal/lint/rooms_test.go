// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// room is a row of the table in docs/architecture.md: a folder, with those below it, and the
// folders of this module that it may import.
type room struct {
	folder string
	all    bool     // may import everything
	may    []string // folders; "x/..." for x and all below it
}

// leaf may be imported by all.
const leaf = "internal/sys"

// parseRooms reads the table's rows: | `folder`, `folder` | holds | may import |
func parseRooms(doc string) ([]room, error) {
	name := regexp.MustCompile("`([^`]+)`")
	var rooms []room
	for l := range strings.SplitSeq(doc, "\n") {
		cells := strings.Split(l, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		r := room{all: strings.TrimSpace(cells[3]) == "all"}
		for _, m := range name.FindAllStringSubmatch(cells[3], -1) {
			r.may = append(r.may, m[1])
		}
		if !r.all && len(r.may) == 0 && strings.TrimSpace(cells[3]) != "-" {
			return nil, fmt.Errorf("the row %q does not say what may be imported: folders, all or -", l)
		}
		for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
			r.folder = m[1]
			if strings.HasPrefix(strings.TrimSpace(cells[1]), "root package") {
				r.folder = "."
			}
			rooms = append(rooms, r)
		}
	}
	return rooms, nil
}

// roomOf finds the row of a folder: its own, or that of the nearest folder above it.
func roomOf(rooms []room, folder string) (r room, ok bool) {
	for _, c := range rooms {
		if (folder == c.folder || strings.HasPrefix(folder, c.folder+"/")) && len(c.folder) >= len(r.folder) {
			r, ok = c, true
		}
	}
	return r, ok
}

// allows tells whether the room may import folder.
func (r room) allows(folder string) bool {
	if r.all || folder == leaf || folder == r.folder || strings.HasPrefix(folder, r.folder+"/") {
		return true
	}
	return slices.ContainsFunc(r.may, func(m string) bool {
		above, below := strings.CutSuffix(m, "/...")
		return folder == m || below && strings.HasPrefix(folder, above+"/")
	})
}

// checkImports returns what is wrong with the imports of f.
func checkImports(rooms []room, f *file) []string {
	var bad []string
	r, ok := roomOf(rooms, f.pkg)
	if !ok {
		return []string{fmt.Sprintf("%s: the folder %s has no row in docs/architecture.md", f.name, f.pkg)}
	}
	for _, p := range f.imports() {
		to, ours := strings.CutPrefix(p, module)
		to = strings.TrimPrefix(to, "/")
		if to == "" {
			to = "."
		}
		switch {
		case p == "C":
			bad = append(bad, f.name+": imports C; the daemon is one static binary without cgo")
		case !ours:
		case strings.HasPrefix(to, "cmd/"):
			bad = append(bad, fmt.Sprintf("%s: imports %s, and nothing may import a command", f.name, to))
		case f.test: // tests may use what they like
		case strings.HasPrefix(to, "test/") && !f.helper():
			bad = append(bad, fmt.Sprintf("%s: imports the test helper %s", f.name, to))
		case !r.allows(to):
			bad = append(bad, fmt.Sprintf("%s: imports %s, which docs/architecture.md does not allow to %s", f.name, to, r.folder))
		}
	}
	return bad
}

func TestImports(t *testing.T) {
	doc, err := os.ReadFile(root + "/docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	rooms, err := parseRooms(string(doc))
	if err != nil {
		t.Fatal(err)
	}
	files := load(t)
	for _, f := range files {
		for _, bad := range checkImports(rooms, f) {
			t.Error(bad)
		}
	}
	for _, r := range rooms {
		if !slices.ContainsFunc(files, func(f *file) bool { return f.pkg == r.folder || strings.HasPrefix(f.pkg, r.folder+"/") }) {
			t.Errorf("docs/architecture.md has a row for %s, which has no Go file", r.folder)
		}
	}
}

func TestCheckImportsItself(t *testing.T) {
	rooms, err := parseRooms("| root package `virtiofs` | x | `a`, `lib/...` |\n| `a` | x | - |\n| `a/deep` | x | `lib/one` |\n| `d` | x | all |\n| `test/f` | x | `a` |\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file, imports string
		bad           bool
	}{
		{"x.go", module + "/a", false}, {"x.go", module + "/lib/two", false}, {"x.go", module + "/d", true},
		{"x.go", "fmt", false}, {"x.go", "C", true}, {"x.go", module + "/" + leaf, false},
		{"a/x.go", module, true}, {"a/x.go", module + "/d", true}, {"a/x.go", module + "/a/deep", false},
		{"a/deep/x.go", module + "/lib/one", false}, {"a/deep/x.go", module + "/lib/two", true}, {"a/deep/x.go", module + "/a", true},
		{"ab/x.go", "fmt", true}, // no row
		{"d/x.go", module + "/a", false}, {"d/x.go", module + "/cmd/x", true}, {"d/x.go", module + "/test/f", true},
		{"d/x_test.go", module + "/test/f", false}, {"test/f/x.go", module + "/a", false}, {"test/f/x.go", module + "/d", true},
	} {
		f, err := parseSource(tt.file, []byte("package p\nimport _ \""+tt.imports+"\"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if bad := checkImports(rooms, f); (len(bad) > 0) != tt.bad {
			t.Errorf("%s importing %s: %q, want a complaint: %v", tt.file, tt.imports, bad, tt.bad)
		}
	}
}
