// SPDX-License-Identifier: Apache-2.0

// Package proto is the language between a test on the host and the agent in a guest: one JSON
// object a line over a raw serial line. A line that does not parse is noise (a guest that was
// reset in the middle of a line) and is skipped.
package proto

// Setup is the file /setup.json of the initramfs: what the agent, as the guest's init, does
// before it listens.
type Setup struct {
	Modules  []string // kernel modules to load, in this order; paths in the initramfs
	RootDev  string   // device; for hostfs, none
	RootType string   // file system type of the root that commands run in
	RootOpts string   // mount options of the root
	Channel  string   // device of the serial line
}

// Request asks the agent to run one command. It is at most MaxRequest bytes long as a line.
type Request struct {
	ID      uint64
	Argv    []string
	Env     []string
	Timeout int64 // milliseconds, 0: none
}

// MaxRequest is what the guest's terminal line takes without loss, in bytes: N_TTY buffers 4096.
const MaxRequest = 3500

// Reply is one thing that the agent says.
type Reply struct {
	Hello string `json:",omitempty"` // boot id: the agent is up; requests sent before are lost
	ID    uint64 `json:",omitempty"` // the request that it is about
	Out   []byte `json:",omitempty"` // a piece of standard output or error
	Done  bool   `json:",omitempty"` // the command has ended; Code and Err hold
	Code  int    `json:",omitempty"` // exit status, 128+n after signal n
	Err   string `json:",omitempty"` // why there is no exit status
}
