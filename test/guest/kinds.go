// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"os"
	"path/filepath"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/debs"
)

// Kind is a machine and the kernel that runs on it.
type Kind string

// The kinds of guests. QEMU 7.2 goes with kernel 6.1: under its TCG a 6.12 kernel oopses when
// the CPUs are busy.
const (
	QEMU72 Kind = "qemu-7.2" // QEMU 7.2, kernel 6.1: one request queue
	QEMU10 Kind = "qemu-10"  // QEMU 10, kernel 6.12: several request queues
	QEMU11 Kind = "qemu-11"  // QEMU 11 and kernel 7.2 of Debian sid
	UML61  Kind = "uml-6.1"  // user-mode Linux 6.1: one CPU, no monitor
	UML72  Kind = "uml-7.2"  // user-mode Linux 7.2 of Debian sid
)

// IsUML tells user-mode Linux from QEMU.
func (k Kind) IsUML() bool { return k == UML61 || k == UML72 }

// machine says from which packages a kind is made.
type machine struct {
	program debs.Bundle // QEMU or linux.uml, with its libraries
	kernel  debs.Bundle // kernel and modules; unused for user-mode Linux
}

var (
	bookworm  = []string{"bookworm"}
	backports = []string{"bookworm", "bookworm-backports"}
	sid       = []string{"sid"}
)

func qemuBundle(name string, suites []string) debs.Bundle {
	return debs.Bundle{Name: name, Suites: suites, Packages: []string{"qemu-system-x86"}}
}

func kernelBundle(name string, suites []string) debs.Bundle {
	return debs.Bundle{Name: name, Suites: suites, Packages: []string{"linux-image-cloud-amd64"}, Prefix: "linux-"}
}

func umlBundle(name string, suites []string) debs.Bundle {
	return debs.Bundle{Name: name, Suites: suites, Packages: []string{"user-mode-linux"}}
}

var machines = map[Kind]machine{
	QEMU72: {qemuBundle("qemu-7.2", bookworm), kernelBundle("linux-6.1", bookworm)},
	QEMU10: {qemuBundle("qemu-10", backports), kernelBundle("linux-6.12", backports)},
	QEMU11: {qemuBundle("qemu-11", sid), kernelBundle("linux-7.2", sid)},
	UML61:  {program: umlBundle("uml-6.1", bookworm)},
	UML72:  {program: umlBundle("uml-7.2", sid)},
}

// rootBundle is the system that commands in all guests see.
var rootBundle = debs.Bundle{
	Name:   "root",
	Suites: bookworm,
	Packages: []string{
		"acl", "attr", "bash", "coreutils", "dash", "diffutils", "findutils", "fio", "git",
		"grep", "mount", "procps", "sed", "sqlite3", "util-linux",
	},
	Finish: finishRoot,
}

// finishRoot adds what packages' installation scripts would have made.
func finishRoot(dir string) error {
	for _, d := range []string{"dev", "mnt", "proc", "run", "sys", "tmp", "tools"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	files := map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n",
		"etc/group":  "root:x:0:\nuser:x:1000:\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	sh := filepath.Join(dir, "usr/bin/sh")
	if _, err := os.Lstat(sh); os.IsNotExist(err) {
		return os.Symlink("dash", sh)
	}
	return nil
}
