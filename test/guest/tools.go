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

// tool is a program of this module that runs in guests or beside them.
type tool struct {
	name  string
	pkg   string   // import path within the module
	build []string // arguments of the go command before the output file
	cgo   string   // CGO_ENABLED: the race detector needs it, guests need static programs
}

const modulePath = "github.com/virtiofsd-go/virtiofsd-go/"

var tools = []tool{
	{"agent", "test/guest/agent", []string{"build", "-ldflags=-s -w", "-o"}, "0"},
	{"posixtest", "test/guest/posix", []string{"test", "-c", "-ldflags=-s -w", "-o"}, "0"},
	{"probe", "test/guest/probe", []string{"build", "-ldflags=-s -w", "-o"}, "0"},
}

// The program that all this is about.
var (
	daemonTool     = tool{"virtiofsd-go", "cmd/virtiofsd-go", []string{"build", "-o"}, "0"}
	raceDaemonTool = tool{"virtiofsd-go-race", "cmd/virtiofsd-go", []string{"build", "-race", "-o"}, "1"}
)

// workDir is this process's directory for files that live as long as it does; made on first use.
var workDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "virtiofsd-go-") })

// tempDir makes a directory in workDir.
func tempDir(prefix string) (string, error) {
	dir, err := workDir()
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(dir, prefix)
}

// CleanUp removes what this process has built. No guest may run any more.
func CleanUp() error {
	dir, err := workDir()
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// buildTools builds the static programs for guests and returns their directory.
var buildTools = sync.OnceValues(func() (string, error) {
	work, err := workDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(work, "tools")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	for _, t := range tools {
		if err := t.buildIn(dir); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// buildIn builds the tool for linux/amd64 in dir.
func (t tool) buildIn(dir string) error {
	args := append(slices.Clone(t.build), filepath.Join(dir, t.name), modulePath+t.pkg)
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+t.cgo, "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}
