// SPDX-License-Identifier: Apache-2.0

// Command bench compares this daemon with its peers: on one tree, in turns, with test/frontend as VMM and guest driver. What the daemons answer is checked while it is
// timed. docs/performance.md says how to run it and how to read what it prints.
//
// Exit codes: 0 all was measured and right, 1 a daemon failed or something could not be run, 2
// the command line is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/peers"
)

// options are the command line.
type options struct {
	workloads, binary, before, reference, out string
	daemons, dirs                             []string
	depths                                    []int
	rounds, size                              int
	time                                      time.Duration
	quick, list, fetch, syscalls              bool
}

func flags(o *options) *pflag.FlagSet {
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.StringVar(&o.workloads, "workloads", "all", "comma-separated workloads")
	fs.IntSliceVar(&o.depths, "depths", nil, "only these numbers of operations in flight; default: each workload's own")
	fs.IntVar(&o.rounds, "rounds", 9, "rounds through all workloads and daemons")
	fs.DurationVar(&o.time, "time", 400*time.Millisecond, "of each measurement")
	fs.StringSliceVar(&o.daemons, "daemons", []string{peers.Self, peers.Rust, peers.C}, "comma-separated daemons, each with options of its own behind a space; one may come several times")
	fs.StringVar(&o.reference, "reference", "", "the daemon of the list that ratios are to; default: the best peer of each row")
	fs.StringSliceVar(&o.dirs, "dir", []string{"/var/tmp", "/dev/shm"}, "comma-separated directories to make the shared tree in")
	fs.IntVar(&o.size, "size", 64, "MiB of each file of data, a power of two")
	fs.BoolVar(&o.quick, "quick", false, "3 rounds of 150 ms, without --dir only in /dev/shm")
	fs.BoolVar(&o.syscalls, "syscalls", true, "count system calls, if strace is there")
	fs.BoolVar(&o.fetch, "fetch", true, "fetch peers that are not installed")
	fs.StringVar(&o.binary, "binary", "bin/virtiofsd-go", "the daemon of this repository")
	fs.StringVar(&o.before, "before", "", "another build of it, which --daemons may call before")
	fs.StringVar(&o.out, "out", "dist/bench", "directory for bench.txt, bench.json and bench.svg")
	fs.BoolVar(&o.list, "list", false, "print the workloads and exit")
	return fs
}

func main() {
	var o options
	fs := flags(&o)
	err := fs.Parse(os.Args[1:])
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err == nil && o.quick {
		o.hurry(fs)
	}
	var p plan
	if err == nil {
		p, err = o.plan(fs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if o.list {
		for _, w := range workloads {
			fmt.Printf("%-17s %v\t%s\n", w.name, w.depths, w.about)
		}
		return
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer cancel()
	p.stop = ctx.Done()     // the trees are removed then
	debug.SetGCPercent(400) // this process is the guest: its own pauses are not the daemons'
	if err := o.bench(p); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// hurry sets what --quick stands for and was not given.
func (o *options) hurry(fs *pflag.FlagSet) {
	if !fs.Changed("rounds") {
		o.rounds = 3
	}
	if !fs.Changed("time") {
		o.time = 150 * time.Millisecond
	}
	if !fs.Changed("dir") {
		o.dirs = []string{"/dev/shm"}
	}
}

// plan checks the options that do not depend on the machine.
func (o *options) plan(fs *pflag.FlagSet) (plan, error) {
	p := plan{depths: o.depths, dirs: o.dirs, rounds: o.rounds, time: o.time, size: int64(o.size) * mib, names: 1024, syscalls: o.syscalls}
	p.say = func(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
	var err error
	if p.workloads, err = choose(o.workloads); err != nil {
		return p, err
	}
	switch {
	case fs.NArg() > 0:
		return p, fmt.Errorf("%q is not an option: see --help", fs.Arg(0))
	case o.rounds < 1 || o.time < time.Millisecond:
		return p, errors.New("at least one round of 1ms is needed")
	case o.size < 1 || o.size > 1024 || o.size&(o.size-1) != 0:
		return p, errors.New("--size is a power of two from 1 to 1024")
	}
	if _, err := exec.LookPath("strace"); err != nil && p.syscalls {
		p.say("system calls are not counted: strace is not installed")
		p.syscalls = false
	}
	return p, nil
}

// bench finds the daemons, measures them and writes what came out. A failure of a daemon is an
// error too, after all else was measured.
func (o *options) bench(p plan) error {
	host, err := thisHost()
	if err != nil {
		return err
	}
	r := &Result{Host: host, Started: time.Now().UTC().Format(time.RFC3339), Rounds: p.rounds, Millis: p.time.Milliseconds(), reference: o.reference}
	if p.targets, r.Daemons, err = findTargets(o.daemons, o.binary, o.before, o.fetch, p.say); err != nil {
		return err
	}
	if o.reference != "" && !contains(p.targets, o.reference) {
		return fmt.Errorf("the reference %q is none of the daemons that can be measured: %s", o.reference, strings.Join(targetNames(p.targets), ", "))
	}
	if r.Cells, err = p.runAll(); err != nil {
		return err
	}
	r.Host.LoadAfter = load()
	if err := o.write(r); err != nil {
		return err
	}
	if n := len(r.failures()); n > 0 {
		return fmt.Errorf("%d cells failed", n)
	}
	return nil
}

// write prints the table and writes the files.
func (o *options) write(r *Result) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	text, err := os.Create(filepath.Join(o.out, "bench.txt"))
	if err != nil {
		return err
	}
	defer text.Close()
	r.table(io.MultiWriter(os.Stdout, text))
	svg, err := os.Create(filepath.Join(o.out, "bench.svg"))
	if err != nil {
		return err
	}
	defer svg.Close()
	return errors.Join(r.plot(svg), svg.Close(), text.Close(), r.write(filepath.Join(o.out, "bench.json")))
}
