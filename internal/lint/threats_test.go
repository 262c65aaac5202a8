// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"go/ast"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestThreats: the tests that docs/threats.md names exist.
func TestThreats(t *testing.T) {
	doc, err := os.ReadFile(root + "/docs/threats.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range load(t) {
		if !f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				have[f.pkg+"."+fn.Name.Name] = true
			}
		}
	}
	named := regexp.MustCompile("`([a-z0-9/-]+\\.(?:Test|Fuzz)[A-Za-z0-9]+)`").FindAllStringSubmatch(string(doc), -1)
	if len(named) < 20 {
		t.Fatalf("only %d tests are found in docs/threats.md: the search is broken", len(named))
	}
	for _, m := range named {
		if !have[m[1]] {
			t.Errorf("docs/threats.md names %s, which does not exist", m[1])
		}
	}
	// A row of a table without a test would be an opinion.
	for l := range strings.Lines(string(doc)) {
		cells := strings.Split(l, "|")
		if len(cells) == 5 && !strings.Contains(l, "---") && strings.TrimSpace(cells[3]) != "tests" && !strings.Contains(cells[3], "`") {
			t.Errorf("docs/threats.md has a row without a test: %s", strings.TrimSpace(l))
		}
	}
}
