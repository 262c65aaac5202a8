// SPDX-License-Identifier: Apache-2.0

// Shareserver serves a directory to one VM over the connected socket that it inherits as fd 3,
// by the public API alone. It is the daemon of tests that measure a process: built without the
// race detector, under a limit of open files, and with a way to ask for a garbage collection.
//
// For every line on its standard input it collects garbage, gives free memory back to the
// system, and writes a line. It ends when the VM goes.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	virtiofs "github.com/virtiofsd-go/virtiofsd-go"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
)

func main() {
	dir := flag.String("dir", "", "directory to serve")
	files := flag.Uint64("nofile", 0, "hard limit of open files")
	noHandles := flag.Bool("no-handles", false, "never use file handles")
	flag.Parse()
	if err := serve(*dir, *files, *noHandles); err != nil {
		fmt.Fprintln(os.Stderr, "shareserver:", err)
		os.Exit(1)
	}
}

func serve(dir string, files uint64, noHandles bool) error {
	unix.Umask(0)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: files}); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	c := hostfs.Config{Root: dir}
	if noHandles {
		c.Handles = hostfs.HandlesNever
	}
	fs, err := hostfs.New(c)
	if err != nil {
		return err
	}
	defer fs.Close()
	conn, err := net.FileConn(os.NewFile(3, "vhost-user"))
	if err != nil {
		return err
	}
	go collectOnDemand()
	return virtiofs.ServeConn(context.Background(), conn.(*net.UnixConn), fs, virtiofs.Options{})
}

func collectOnDemand() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		debug.FreeOSMemory() // collects first
		fmt.Println("collected")
	}
}
