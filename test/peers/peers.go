// SPDX-License-Identifier: Apache-2.0

// Package peers finds, fetches and starts the virtio-fs daemons that this one is compared with:
// the Rust virtiofsd and the C one that came with QEMU up to 7.2. A daemon that the machine has
// is used as it is; another one is unpacked from Debian packages into the cache of the guests and
// run there with its own C library, so that it works beside an older or newer system.
//
// The peers need root: their sandboxes, which are on by default, want it.
package peers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest"
	"github.com/virtiofsd-go/virtiofsd-go/test/guest/debs"
)

// Names of the daemons.
const (
	Self = "ours" // the one of this repository
	Rust = "rust" // gitlab.com/virtio-fs/virtiofsd
	C    = "c"    // QEMU tools/virtiofsd, up to QEMU 7.2
)

// Peer is a daemon that can be started, or Err says why not.
type Peer struct {
	Name    string
	Version string // what it says of itself, in one line
	Err     error  // it cannot be had

	command []string // program, and what runs it
	args    func(share, socket string, o Options) ([]string, error)
}

// kind is a daemon that is looked for.
type kind struct {
	name      string
	installed []string // where distributions put it
	bundle    debs.Bundle
	program   string // its path in the unpacked bundle
	says      string // how its --version begins: two daemons share a path
	args      func(share, socket string, o Options) ([]string, error)
}

var kinds = []kind{
	{
		name:      Rust,
		installed: []string{"/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/bin/virtiofsd"},
		bundle:    debs.Bundle{Name: "virtiofsd-rust", Suites: []string{"sid"}, Packages: []string{"virtiofsd"}},
		program:   "usr/libexec/virtiofsd",
		says:      "virtiofsd 1.",
		args:      rustArgs,
	},
	{
		name:      C,
		installed: []string{"/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"},
		bundle:    debs.Bundle{Name: "virtiofsd-c", Suites: []string{"bookworm"}, Packages: []string{"qemu-system-common"}},
		program:   "usr/lib/qemu/virtiofsd",
		says:      "virtiofsd version ",
		args:      cArgs,
	},
}

// Find returns all known peers in a fixed order, also those that cannot be had. With fetch set,
// what the machine has not is fetched from its own Debian archive, and say is told about that.
func Find(fetch bool, say func(format string, a ...any)) []Peer {
	var found []Peer
	for _, k := range kinds {
		found = append(found, k.find(fetch, say))
	}
	return found
}

// Ours is the daemon of this repository as a peer.
func Ours(program string) Peer {
	p := Peer{Name: Self, command: []string{program}, args: rustArgs}
	p.Version, p.Err = version(p.command)
	return p
}

// Why a peer cannot be had.
var (
	errNotThere = errors.New("not installed, and not to be fetched")
	errRoot     = errors.New("it needs root for its sandbox")
)

func (k kind) find(fetch bool, say func(string, ...any)) Peer {
	p := Peer{Name: k.name, args: k.args}
	if os.Geteuid() != 0 {
		p.Err = errRoot
		return p
	}
	for _, path := range k.installed {
		if v, err := version([]string{path}); err == nil && strings.HasPrefix(v, k.says) {
			p.Version, p.command = v, []string{path}
			return p
		}
	}
	if !fetch {
		p.Err = errNotThere
		return p
	}
	dir, err := guest.OpenBundle(k.bundle, say)
	if err == nil {
		p.command, err = foreign(dir, k.program)
	}
	if err == nil {
		p.Version, err = version(p.command)
	}
	p.Err = err
	return p
}

// foreign returns how to run a program of an unpacked bundle with the loader and the libraries
// that lie beside it.
func foreign(dir, program string) ([]string, error) {
	loader, err := one(dir, "usr/lib*/ld-linux-*.so.*")
	if err != nil {
		return nil, err
	}
	libs, err := one(dir, "usr/lib/*-linux-gnu")
	if err != nil {
		return nil, err
	}
	return []string{loader, "--library-path", libs, filepath.Join(dir, program)}, nil
}

func one(dir, pattern string) (string, error) {
	m, err := filepath.Glob(filepath.Join(dir, pattern))
	if err == nil && len(m) != 1 {
		err = fmt.Errorf("%s: %d files like %s, not 1", dir, len(m), pattern)
	}
	if err != nil {
		return "", err
	}
	return m[0], nil
}

// version is the first line that the program prints when it is asked for its version.
func version(command []string) (string, error) {
	if _, err := os.Stat(command[len(command)-1]); err != nil {
		return "", err
	}
	out, err := exec.Command(command[0], append(command[1:len(command):len(command)], "--version")...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil {
		return "", fmt.Errorf("%s --version: %w: %s", command[len(command)-1], err, line)
	}
	return line, nil
}
