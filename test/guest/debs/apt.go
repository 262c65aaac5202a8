// SPDX-License-Identifier: Apache-2.0

package debs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// apt runs the machine's apt with lists, status and archives of its own below dir, so that
// nothing of the host's apt changes. The status file is empty: a closure holds everything, down
// to the C library. Proxies of the host's apt.conf stay in force.
type apt struct {
	dir    string // lists, archives, status, sources
	target string // the suite that wins (apt's default release)
}

// newApt prepares dir and reads the package lists of suites. It needs the network.
func newApt(dir string, suites []string) (*apt, error) {
	code, err := codename("/etc/os-release")
	if err != nil {
		return nil, err
	}
	m, err := findMirror("/etc/apt", code)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	files := map[string]string{"status": "", "archive.sources": m.source(suites)}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	a := &apt{dir: dir, target: suites[len(suites)-1]}
	_, err = a.run("apt-get", "update")
	return a, err
}

// run runs an apt tool and returns its standard output. Apt itself checks the signature of the
// lists and the SHA256 of each package against them; here any doubt is an error.
func (a *apt) run(tool string, args ...string) (string, error) {
	opts := []string{
		"Dir::State=" + a.dir,
		"Dir::State::status=" + a.dir + "/status",
		"Dir::State::lists=" + a.dir + "/lists",
		"Dir::Cache=" + a.dir,
		"Dir::Cache::archives=" + a.dir + "/archives",
		"Dir::Etc::SourceList=" + a.dir + "/archive.sources",
		"Dir::Etc::SourceParts=/dev/null",
		"APT::Default-Release=" + a.target,
		"APT::Install-Recommends=false",
		"APT::Sandbox::User=root",
		"APT::Update::Error-Mode=any",
		"APT::Get::AllowUnauthenticated=false",
		"Acquire::AllowInsecureRepositories=false",
		"Acquire::Languages=none",
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"Debug::NoLocking=true",
	}
	var all []string
	for _, o := range opts {
		all = append(all, "-o", o)
	}
	cmd := exec.Command(tool, append(all, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", tool, strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// download brings packages, with everything they depend on, and returns the files whose names
// start with prefix.
func (a *apt) download(packages []string, prefix string) ([]string, error) {
	args := append([]string{"install", "--yes", "--download-only"}, packages...)
	if _, err := a.run("apt-get", args...); err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(a.dir, "archives", prefix+"*.deb"))
}
