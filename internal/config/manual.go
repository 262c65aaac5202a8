// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// The parts of the manual page around its options.
const (
	manualHead = `.TH VIRTIOFSD\-GO 8 "" "virtiofsd\-go %s" "System Administration"
.SH NAME
virtiofsd\-go \- share a directory of the host with a virtual machine by virtio-fs
.SH SYNOPSIS
.B virtiofsd\-go
.BI \-\-shared\-dir\~ DIR
.BI \-\-socket\-path\~ PATH
.RI [ options ]
.br
.B virtiofsd\-go
.BI \-\-config\~ FILE
.RI [ options ]
.br
.B virtiofsd\-go
.BI \-\-share\~ DIR\fB,socket=\fPPATH\fR[\fB,\fPoption\fR]...\fP
\&...
.RI [ options ]
.SH DESCRIPTION
.B virtiofsd\-go
is a virtio-fs back-end.
The virtual machine monitor (QEMU, cloud-hypervisor, crosvm, user-mode Linux, libvirt's QEMU) connects to its
vhost-user socket, the guest mounts the share with
.B mount \-t virtiofs
.IR TAG " " DIR ,
and what the guest does in it is done in the host's directory.
The guest's memory has to be shared with the daemon, for QEMU by
.BR \-object\~memory\-backend\-memfd,share=on,... .
.P
It serves one virtual machine for each share and ends when all have gone.
.SH OPTIONS
The options are those of the Rust virtiofsd 1.14, and some more.
An option that is given twice counts the last time, unless it can be given several times.
`
	manualTail = `.SH SEVERAL SHARES
With
.BR \-\-share ,
which can be given several times, one process serves several directories, each with a socket of its own and with
options of its own behind commas.
A comma in a name or value is written twice.
Options beside it are the defaults of all shares.
.SH OPTIONS FROM A FILE
With
.B \-\-config
options stand in a file, one in a line by its long name without dashes, as
.IR option \~=\~ value ,
or a switch alone, or with
.B yes
or
.BR no .
A value goes to the end of its line.
Lines that begin with # are comments.
Lines behind a
.RI [ NAME ]
are options of one share; those above are of the process and the defaults of all shares, or of the only one.
What follows on the command line counts over the file.
.SH LOCKED OPTIONS
.B \-\-locked
takes what all options are when it is given, at the end of the file if it is in one; the daemon does not start if the
whole command line asks for more than that.
No share can be added to those that were given, and
.B \-\-config
is refused behind it.
These are the options that it holds, and how they can be changed; all others can be changed freely.
%s.SH SYSTEMD
Sockets that systemd hands over (LISTEN_FDS) are listened on: a single one if neither
.B \-\-socket\-path
nor
.B \-\-fd
is given, and any by
.B \-\-fd
with its name (FileDescriptorName=).
Readiness is told by NOTIFY_SOCKET.
.B virtiofsd\-go@.socket
and
.B virtiofsd\-go@.service
share the directory that is their instance's name, see
.BR systemd\-escape (1)
with
.BR \-\-path .
.SH SIGNALS
.TP
.B SIGTERM, SIGINT, SIGHUP
The requests in flight are completed, for 10 seconds at most, and the daemon ends.
A second signal, after half a second or more, ends it at once.
.TP
.B SIGUSR1
Releases what hangs by a rule of
.BR \-\-fault .
.SH EXIT STATUS
.TP
.B 0
All virtual machines have gone, or a signal stopped the daemon.
.TP
.B 1
It could not start, or serving failed.
.TP
.B 2
The command line is wrong.
.SH FILES
.TP
.IB PATH .pid
beside the socket
.IR PATH ,
has the number of the process, which holds a lock on it.
.TP
.I share/doc/virtiofsd\-go/example.conf
below the prefix of the installation, an example for
.BR \-\-config .
.SH SEE ALSO
.BR qemu (1),
.BR mount (8),
.BR systemd.socket (5)
`
)

// Manual is the manual page virtiofsd-go(8), for man(7) macros.
func Manual() string {
	var b strings.Builder
	fmt.Fprintf(&b, manualHead, Version)
	for _, g := range newLine(nil).groups {
		fmt.Fprintf(&b, ".SS %s\n", troff(g.title))
		g.set.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				b.WriteString(manualOption(f))
			}
		})
	}
	fmt.Fprintf(&b, manualTail, manualLocks())
	return b.String()
}

// manualLocks are the paragraphs of what --locked holds.
func manualLocks() string {
	var b strings.Builder
	for _, rule := range Locks() {
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fR\n%s.\n", troff("--"+rule[0]), troff(rule[1]))
	}
	return b.String()
}

// manualOption is the paragraph of one option.
func manualOption(f *pflag.Flag) string {
	name, usage := pflag.UnquoteUsage(f)
	var b strings.Builder
	b.WriteString(".TP\n")
	if f.Shorthand != "" {
		fmt.Fprintf(&b, "\\fB\\-%s\\fR, ", f.Shorthand)
	}
	fmt.Fprintf(&b, "\\fB%s\\fR", troff("--"+f.Name))
	switch {
	case f.NoOptDefVal == "":
		fmt.Fprintf(&b, " \\fI%s\\fR", troff(name))
	case f.Value.Type() != "bool":
		fmt.Fprintf(&b, "[=\\fI%s\\fR]", troff(name))
	}
	fmt.Fprintf(&b, "\n%s", troff(usage))
	if def := f.DefValue; def != "" && def != "false" && def != "[]" && def != "0" {
		fmt.Fprintf(&b, " (default %s)", troff(def))
	}
	b.WriteString(".\n")
	return b.String()
}

// troff writes text so that it means itself to troff: no escapes, hyphens that can be searched for,
// and no control line.
func troff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
