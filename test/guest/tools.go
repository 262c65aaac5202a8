// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
)

const module_ = "github.com/virtiofsd-go/virtiofsd-go/"

// tools are the programs of this module that run in guests, or beside them, and how the go
// command builds each.
var tools = map[string][]string{
	"agent":     {"build", "-ldflags=-s -w", "-o"},
	"posixtest": {"test", "-c", "-ldflags=-s -w", "-o"},
}

var toolPackages = map[string]string{
	"agent":     "test/guest/agent",
	"posixtest": "test/guest/posix",
}

func toolNames() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for n := range tools {
			if !yield(n) {
				return
			}
		}
	})
}

// WorkDir returns the directory of this process for files that live as long as it does. It is
// made on first use and removed by RemoveWorkDir.
var WorkDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "virtiofsd-go-") })

// buildTools builds the static programs for guests and returns their directory.
var buildTools = sync.OnceValues(func() (string, error) {
	work, err := WorkDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(work, "tools")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	for _, name := range toolNames() {
		args := append(slices.Clone(tools[name]), filepath.Join(dir, name), module_+toolPackages[name])
		if err := goTool(args...); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// goTool runs the go command for a static linux/amd64 program.
func goTool(args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}
