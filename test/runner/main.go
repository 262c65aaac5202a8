// SPDX-License-Identifier: Apache-2.0

// Command runner runs the repository's tests for make test. It prints what passed as it goes, the
// ten slowest tests, and one closing line. Besides tests that fail, these are failures: a test that
// is skipped, and a package without a test that ran, unless test/skips.txt lists it.
//
//	runner [-skips FILE] [-alone FOLDER,...] [-race=false] [packages, default ./...]
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	skips := flag.String("skips", "test/skips.txt", "the list of tests that may be skipped")
	alone := flag.String("alone", "test/guest,test/conformance", "folders whose packages run one at a time, after the others")
	race := flag.Bool("race", true, "run with the race detector")
	flag.Parse()
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	ok, err := run(*skips, strings.Split(*alone, ","), *race, patterns)
	if err != nil {
		fmt.Fprintln(os.Stderr, "runner:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run runs the tests of the packages and reports whether all is well. An error means that they
// could not be run.
func run(skips string, alone []string, race bool, patterns []string) (bool, error) {
	text, err := os.ReadFile(skips)
	if err != nil {
		return false, err
	}
	list, err := parseSkips(string(text))
	if err != nil {
		return false, err
	}
	packages, err := listPackages(patterns)
	if err != nil {
		return false, err
	}
	together, last := split(packages, alone)
	rep := newReport(os.Stdout, list)
	start := time.Now()
	// Guests want the machine for themselves, and waiting for one is no failure.
	for _, g := range []struct {
		packages    []string
		parallel    string
		explanation string
	}{
		{together, "2", "without a guest"},
		{last, "1", "with guests, one after the other"},
	} {
		if len(g.packages) == 0 {
			continue
		}
		fmt.Printf("== %d packages %s\n", len(g.packages), g.explanation)
		args := []string{"test", "-json", "-count=1", "-timeout=" + timeout(), "-p=" + g.parallel}
		if race {
			args = append(args, "-race")
		}
		if err := goTest(rep, append(args, g.packages...)); err != nil {
			return false, err
		}
	}
	return rep.finish(packages, time.Since(start)), nil
}

// timeout of one package: the guests' full sizes take hours on a small machine.
func timeout() string {
	if os.Getenv("VIRTIOFSD_GO_FULL") == "1" {
		return "8h"
	}
	return "40m"
}

// listPackages names all packages that the patterns match.
func listPackages(patterns []string) ([]string, error) {
	cmd := exec.Command("go", append([]string{"list"}, patterns...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// split parts the packages that run alone from the others.
func split(packages, alone []string) (together, last []string) {
	for _, p := range packages {
		if inAny(p, alone) {
			last = append(last, p)
		} else {
			together = append(together, p)
		}
	}
	return together, last
}

func inAny(pkg string, folders []string) bool {
	for _, f := range folders {
		if in := path.Join(module, f); f != "" && (pkg == in || strings.HasPrefix(pkg, in+"/")) {
			return true
		}
	}
	return false
}

// goTest runs go with args and feeds its output to the report. When this process is told to end, so
// are go and its tests, which share the terminal's process group or get the signal from here.
func goTest(rep *report, args []string) error {
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1") // for the race detector
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(signals)
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	readErr := rep.read(out)
	err = cmd.Wait()
	if readErr != nil {
		return readErr
	}
	rep.exit(err)
	return nil
}
