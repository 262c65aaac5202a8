// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"encoding/binary"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// secCtxRecord is struct fuse_secctx_header for n contexts, and one of them (none for n 0) that says
// that its value has size bytes.
func secCtxRecord(n, size uint32, name, value string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, 0)
	b = binary.NativeEndian.AppendUint32(b, n)
	if n > 0 {
		b = binary.NativeEndian.AppendUint32(b, size)
		b = binary.NativeEndian.AppendUint32(b, 0)
		b = append(b, name+"\x00"+value...)
	}
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

// TestLabels: creating operations carry a security context when that is negotiated, in the form of
// Linux 6.3 with a length of all extensions, and in that of 5.17 without.
func TestLabels(t *testing.T) {
	const name, both = "security.selinux", fuse.CAP_SECURITY_CTX | fuse.CAP_CREATE_SUPP_GROUP
	long := strings.Repeat("v", 4096)
	groups := []byte("\x10\x00\x00\x00\x20\x00\x00\x00\x01\x00\x00\x00\xe8\x03\x00\x00") // one, 1000
	one := secCtxRecord(1, 5, name, "label")
	for what, c := range map[string]struct {
		wanted uint64
		ext    []byte
		errno  syscall.Errno
		label  string
		groups []uint32
	}{
		"label":            {both, one, 0, name + "=label", nil},
		"label and group":  {both, slices.Concat(one, groups), 0, name + "=label", []uint32{1000}},
		"group and label":  {both, slices.Concat(groups, one), 0, name + "=label", []uint32{1000}},
		"label alone":      {fuse.CAP_SECURITY_CTX, one, 0, name + "=label", nil},
		"not the group":    {fuse.CAP_SECURITY_CTX, slices.Concat(one, groups), 0, name + "=label", nil},
		"not the label":    {fuse.CAP_CREATE_SUPP_GROUP, slices.Concat(one, groups), 0, "", []uint32{1000}},
		"no context":       {both, secCtxRecord(0, 0, "", ""), 0, "", nil},
		"nothing":          {both, nil, 0, "", nil},
		"empty value":      {both, secCtxRecord(1, 0, name, ""), 0, name + "=", nil},
		"any bytes":        {both, secCtxRecord(1, 4, "\xff/", "\x00\xff\x00\x01"), 0, "\xff/=\x00\xff\x00\x01", nil},
		"a page":           {both, secCtxRecord(1, 4096, name, long), 0, name + "=" + long, nil},
		"too long":         {both, secCtxRecord(1, 8192, name, long+long), syscall.EINVAL, "", nil},
		"value too short":  {both, secCtxRecord(1, 6+7, name, "label"), syscall.EINVAL, "", nil},
		"value huge":       {both, secCtxRecord(1, 1<<32-1, name, "label"), syscall.EINVAL, "", nil},
		"no name":          {both, secCtxRecord(1, 5, "", "label"), syscall.EINVAL, "", nil},
		"name too long":    {both, secCtxRecord(1, 5, strings.Repeat("n", 256), "label"), syscall.EINVAL, "", nil},
		"two contexts":     {both, secCtxRecord(2, 5, name, "label"), syscall.EINVAL, "", nil},
		"two records":      {both, slices.Concat(one, one), syscall.EINVAL, "", nil},
		"cut":              {both, []byte("\x08\x00\x00\x00\x01\x00\x00\x00"), syscall.EINVAL, "", nil},
		"name without end": {both, []byte("\x18\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00security"), syscall.EINVAL, "", nil},
		"unknown record":   {both, []byte("\x08\x00\x00\x00\x63\x00\x00\x00"), 0, "", nil},
		"not a record":     {both, []byte("\x00\x00\x00\x00\x01\x00\x00\x00"), syscall.EINVAL, "", nil},
	} {
		for _, op := range []Opcode{OpMkdir, OpMknod, OpSymlink, OpCreate, OpTmpfile} {
			for _, told := range []bool{true, false} {
				if !told && c.wanted&fuse.CAP_SECURITY_CTX == 0 {
					continue // nothing in the request says that there is more
				}
				f := newFullRecorder()
				f.wanted = c.wanted
				tt := newStarted(t, f)
				parts := []any{make([]byte, lookupOperation(op).args), "name"}
				if op == OpSymlink {
					parts = append(parts, "target")
				}
				h := fuse.InHeader{Opcode: uint32(op)}
				if told {
					h.TotalExtlen = uint16(len(c.ext) / 8)
				}
				got := tt.send(messageFrom(t, h, append(parts, c.ext)...), 200)
				if got.errno() != c.errno || c.errno == 0 && (f.label != c.label || !slices.Equal(f.groups, c.groups)) {
					t.Errorf("%s, %v, told %v: %v with %q and groups %v, want %v with %q and %v", what, op, told, got.errno(), f.label, f.groups, c.errno, c.label, c.groups)
				}
				if called := f.last().method != ""; called != (c.errno == 0) {
					t.Errorf("%s, %v: the file system was called: %v", what, op, called)
				}
			}
		}
	}
}

// TestInitRequires: a guest without what the file system requires gets no session.
func TestInitRequires(t *testing.T) {
	f := newFullRecorder()
	f.requires = fuse.CAP_SECURITY_CTX | fuse.CAP_DONT_MASK
	tt := newTester(t, f, Options{})
	for _, c := range []struct {
		flags uint64
		want  syscall.Errno
	}{
		{^uint64(0), 0}, {f.requires, syscall.EPROTO}, {f.requires | fuse.CAP_INIT_EXT, 0}, {0, syscall.EPROTO},
		{^uint64(0) &^ fuse.CAP_DONT_MASK, syscall.EPROTO}, {^uint64(0) &^ fuse.CAP_SECURITY_CTX, syscall.EPROTO}, {^uint64(0), 0},
	} {
		if got := tt.send(initWith(t, 7, 41, c.flags), 80); got.errno() != c.want {
			t.Errorf("INIT with %#x: %v, want %v", c.flags, got.errno(), c.want)
		}
		served := tt.send(messageFrom(t, fuse.InHeader{Opcode: uint32(OpStatfs), NodeId: 1}), 200).errno() == 0
		if served != (c.want == 0) {
			t.Errorf("after INIT with %#x, STATFS is served: %v", c.flags, served)
		}
	}
}
