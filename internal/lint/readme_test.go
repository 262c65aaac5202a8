// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReadmeExample builds the Go program of README.md.
func TestReadmeExample(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	if len(blocks) != 1 {
		t.Fatalf("%d Go programs in README.md, want 1", len(blocks))
	}
	dir := t.TempDir()
	src := filepath.Join(dir, "main.go")
	if err := os.WriteFile(src, []byte(blocks[0][1]), 0o600); err != nil {
		t.Fatal(err)
	}
	// To the go command the program is a package of this module, as it uses its dependencies.
	inModule, err := filepath.Abs(root + "/internal/readme/main.go")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{inModule: src}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-overlay", list, "-o", filepath.Join(dir, "program"), "./internal/readme")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestReadmeOptions: the tables of options and --help name the same ones.
func TestReadmeOptions(t *testing.T) {
	name := regexp.MustCompile(`--[a-z0-9-]+`)
	rows := map[string]bool{}
	for l := range strings.SplitSeq(readme(t), "\n") {
		if strings.HasPrefix(l, "| `-") {
			for _, option := range name.FindAllString(strings.Split(l, "|")[1], -1) {
				rows[option] = true
			}
		}
	}
	options := helpOptions()
	if len(options) < 40 {
		t.Fatalf("only %d options found in --help: the search is broken", len(options))
	}
	for _, option := range options {
		if !rows[option] {
			t.Errorf("%s is in --help and not in README.md", option)
		}
		delete(rows, option)
	}
	for option := range rows {
		t.Errorf("%s is in README.md and not in --help", option)
	}
}

// TestReadmeLocks: the table of what --locked holds is that of the daemon.
func TestReadmeLocks(t *testing.T) {
	text := readme(t)
	_, table, ok := strings.Cut(text, "behind `--locked` |\n| --- | --- |\n")
	if !ok {
		t.Fatal("README.md has no table of what --locked holds")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for _, rule := range config.Locks() {
		want = append(want, "| "+rule[0]+" | "+rule[1]+" |")
	}
	if table != strings.Join(want, "\n") {
		t.Errorf("README.md has the table\n%s\nwant\n%s", table, strings.Join(want, "\n"))
	}
}

// helpOptions are the options that --help has a line for.
func helpOptions() (options []string) {
	line := regexp.MustCompile(`(?m)^  (?:-[a-zA-Z], |    )(--[a-z0-9-]+)`)
	for _, m := range line.FindAllStringSubmatch(config.Usage(), -1) {
		options = append(options, m[1])
	}
	return options
}
