// SPDX-License-Identifier: Apache-2.0

// Command demo boots a Linux guest under QEMU on a directory shared by this daemon, and shows how
// what one side writes the other reads. It prepares all that is missing.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest"
)

func main() {
	err := demo()
	if cerr := guest.CleanUp(); err == nil {
		err = cerr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func say(format string, a ...any) { fmt.Printf(format+"\n", a...) }

func demo() error {
	shared, err := os.MkdirTemp("", "virtiofsd-go-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(shared)
	if err := guest.Prepare(say, guest.QEMU72); err != nil {
		return err
	}
	say("Starting virtiofsd-go on the host directory %s.", shared)
	d, err := guest.StartDaemon(guest.DaemonSpec{Shared: shared, Tag: "demo"})
	if err != nil {
		return err
	}
	defer d.Close()
	say("Booting a Debian guest under QEMU 7.2 with that directory as a virtio-fs device.")
	start := time.Now()
	g, err := guest.Start(guest.Spec{
		Kind: guest.QEMU72, Shares: []guest.Share{{Socket: d.Socket, Tag: "demo"}},
	}, say)
	if err != nil {
		return err
	}
	defer g.Close()
	say("The guest is up after %.1f seconds.", time.Since(start).Seconds())
	if err := show(g, shared); err != nil {
		return err
	}
	say("Switching the guest off.")
	g.Close()
	if err := d.Wait(); err != nil {
		return fmt.Errorf("the daemon: %w\n%s", err, d.Log())
	}
	say("The daemon has ended by itself, as its VM is gone. It works.")
	return nil
}

// show writes on each side and reads on the other; a difference is an error.
func show(g *guest.Guest, shared string) error {
	if _, err := inGuest(g, "mkdir -p /mnt/demo && mount -t virtiofs demo /mnt/demo"); err != nil {
		return err
	}
	kernel, err := inGuest(g, "uname -sr")
	if err != nil {
		return err
	}
	hello := "hello from the guest, which runs " + kernel
	if _, err := inGuest(g, "echo '"+strings.TrimSpace(hello)+"' > /mnt/demo/from-guest"); err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(shared, "from-guest"))
	if err != nil {
		return err
	}
	say("  host reads:  %s", strings.TrimSpace(string(got)))
	if string(got) != hello {
		return fmt.Errorf("the guest wrote %q, the host reads %q", hello, got)
	}
	host := fmt.Sprintf("hello from the host, process %d\n", os.Getpid())
	if err := os.WriteFile(filepath.Join(shared, "from-host"), []byte(host), 0o644); err != nil {
		return err
	}
	back, err := inGuest(g, "cat /mnt/demo/from-host")
	if err != nil {
		return err
	}
	say("  guest reads: %s", strings.TrimSpace(back))
	if back != host {
		return fmt.Errorf("the host wrote %q, the guest reads %q", host, back)
	}
	return nil
}

// inGuest runs a command in the guest, says so, and returns its output.
func inGuest(g *guest.Guest, script string) (string, error) {
	say("  guest runs:  %s", script)
	out, code, err := g.Do(script, time.Minute)
	if err != nil {
		return "", fmt.Errorf("%s: %w", script, err)
	}
	if code != 0 {
		return "", fmt.Errorf("%s: status %d\n%s", script, code, out)
	}
	return out, nil
}
