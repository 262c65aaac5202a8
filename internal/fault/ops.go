// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"fmt"
	"slices"
	"strings"
)

// operation is a kind of call of the host.
type operation struct {
	name   string
	ranged bool // is about a range of bytes
	counts bool // moves bytes, and tells how many
}

// operations are all that rules can name. An operation's number is its place here.
var operations = []operation{
	{name: "lookup"}, {name: "getattr"}, {name: "setattr"}, {name: "access"}, {name: "readlink"},
	{name: "create"}, {name: "tmpfile"}, {name: "mknod"}, {name: "mkdir"}, {name: "symlink"},
	{name: "link"}, {name: "unlink"}, {name: "rmdir"}, {name: "rename"},
	{name: "open"}, {name: "read", ranged: true, counts: true}, {name: "write", ranged: true, counts: true},
	{name: "truncate", ranged: true}, {name: "fallocate", ranged: true}, {name: "copy", ranged: true, counts: true},
	{name: "seek"}, {name: "flush"}, {name: "fsync"}, {name: "getlk"}, {name: "setlk"},
	{name: "opendir"}, {name: "readdir"}, {name: "fsyncdir"},
	{name: "statfs"}, {name: "syncfs"},
	{name: "getxattr"}, {name: "setxattr"}, {name: "listxattr"}, {name: "removexattr"},
}

// opSet is a set of operations, a bit for each.
type opSet uint64

var anyOp = opSet(1)<<len(operations) - 1

// Operations are the names of all operations.
func Operations() []string { return names(func(operation) bool { return true }) }

func names(which func(operation) bool) (all []string) {
	for _, o := range operations {
		if which(o) {
			all = append(all, o.name)
		}
	}
	return all
}

// find returns the number of an operation.
func find(name string) (int, bool) {
	i := slices.IndexFunc(operations, func(o operation) bool { return o.name == name })
	return i, i >= 0
}

// parseOps reads the first word of a rule.
func parseOps(word string) (set opSet, err error) {
	if word == "any" {
		return anyOp, nil
	}
	for name := range strings.SplitSeq(word, ",") {
		i, ok := find(name)
		if !ok {
			return 0, fmt.Errorf("%q is not an operation; a rule begins with \"any\" or some of %s", name, strings.Join(Operations(), ","))
		}
		set |= 1 << i
	}
	return set, nil
}

func (s opSet) has(i int) bool { return s>>i&1 != 0 }

// all reports whether every operation of the set is of that kind.
func (s opSet) all(kind func(operation) bool) bool {
	for i, o := range operations {
		if s.has(i) && !kind(o) {
			return false
		}
	}
	return true
}

func (s opSet) String() string {
	if s == anyOp {
		return "any"
	}
	var in []string
	for i, o := range operations {
		if s.has(i) {
			in = append(in, o.name)
		}
	}
	return strings.Join(in, ",")
}
