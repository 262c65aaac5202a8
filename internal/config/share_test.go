// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestShares(t *testing.T) {
	share := func(dir string, change func(*Share)) Share {
		s := DefaultShare()
		s.SharedDir = dir
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name string
		args []string
		want []Share
	}{
		{"one", []string{"--share", "/a,socket=s"}, []Share{share("/a", func(s *Share) { s.SocketPath = "s" })}},
		{"two, with what is theirs", []string{"--share=/a,socket=s,tag=x,readonly", "--share=/b,fd=4,cache=never,posix-acl"}, []Share{
			share("/a", func(s *Share) { s.SocketPath, s.Tag, s.ReadOnly = "s", "x", true }),
			share("/b", func(s *Share) { s.FD, s.Cache, s.PosixACL, s.XAttr = 4, CacheNever, NegotiateAlways, true })}},
		{"defaults for all, in any place", []string{"--cache=always", "--share=/a,socket-path=s", "--share=/b,socket=t,cache=never,xattr=false", "--xattr"}, []Share{
			share("/a", func(s *Share) { s.SocketPath, s.Cache, s.XAttr = "s", CacheAlways, true }),
			share("/b", func(s *Share) { s.SocketPath, s.Cache = "t", CacheNever })}},
		{"lists take the place of the defaults", []string{"--translate-uid=host:1:2:3", "--fault=any hang", "--share=/a,socket=s",
			"--share=/b,socket=t,translate-uid=map:0:1:1,translate-uid=map:1:5:1,fault=read short=1"}, []Share{
			share("/a", func(s *Share) {
				s.SocketPath, s.TranslateUID, s.Faults = "s", []string{"host:1:2:3"}, rules(t, "any hang")
			}),
			share("/b", func(s *Share) {
				s.SocketPath, s.TranslateUID, s.Faults = "t", []string{"map:0:1:1", "map:1:5:1"}, rules(t, "read short=1")
			})}},
		{"commas and equals signs", []string{"--share=/a,,b=c,socket=s=,,"}, []Share{share("/a,b=c", func(s *Share) { s.SocketPath = "s=," })}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.args, nil)
			if err != nil || !reflect.DeepEqual(got.Shares, tt.want) {
				t.Errorf("got %+v, %v\nwant %+v", got.Shares, err, tt.want)
			}
		})
	}
}

func TestShareMistakes(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want []string // a part of each line
	}{
		{[]string{"--share=/a"}, []string{"--socket-path is missing"}},
		{[]string{"--share=", "--share=/b"}, []string{"--share : --shared-dir is missing", "--share : --socket-path is missing", "--share /b: --socket-path is missing"}},
		{[]string{"--share=/a,socket=s", "--share=/b,socket=s"}, []string{"--share /b: another share has the same socket"}},
		{[]string{"--share=/a,fd=3", "--share=/b,fd=3"}, []string{"--share /b: another share has the same socket"}},
		{[]string{"--share=/a,socket=s", "--shared-dir=/b", "--fd=3"}, []string{"--shared-dir and --share exclude each other", "--fd and --share exclude"}},
		{[]string{"--share=/a,socket=s,log-level=debug"}, []string{`--share /a,socket=s,log-level=debug: "log-level" is not an option of a share`}},
		{[]string{"--share=/a,socket=s,shared-dir=/b"}, []string{`"shared-dir" is not an option of a share`}},
		{[]string{"--share=/a,socket"}, []string{"socket needs a value after a ="}},
		{[]string{"--share=/a,socket="}, []string{"--socket is given an empty value"}},
		{[]string{"--share=/a,socket=s,"}, []string{`"" is not an option of a share`}},
		{[]string{"--share=/a,socket=s,xattr=maybe"}, []string{`--xattr cannot be "maybe"`}},
		{[]string{"--share=/a,socket=s,cache=x", "--share=/b,socket=t,tag=" + strings.Repeat("t", 40)}, []string{`--share /a: --cache "x" is not known`, "--share /b: --tag is 40 bytes long"}},
	} {
		_, err := Parse(tt.args, nil)
		if err == nil {
			t.Errorf("%q is taken", tt.args)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(tt.want) {
			t.Errorf("%q: %q, want %d lines", tt.args, lines, len(tt.want))
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%q: line %d is %q, want %q in it", tt.args, i+1, lines[i], want)
			}
		}
	}
}

func TestNoticesOfShares(t *testing.T) {
	c, err := Parse([]string{"--sandbox=none", "--share=/a,socket=s,migration-mode=x"}, nil)
	if err == nil {
		t.Errorf("an option of the process is taken for a share: %+v", c)
	}
	saved := missing
	defer func() { missing = saved }()
	missing = append(missing[:0:0], missing[0])
	missing[0].option, missing[0].harmless = "tag", ""
	c, err = Parse([]string{"--sandbox=none", "--share=/a,socket=s,tag=x", "--share=/b,socket=t,tag=y"}, nil)
	if err != nil || len(c.Notices) != 1 || !strings.HasPrefix(c.Notices[0], "--tag has no effect yet") {
		t.Errorf("notices %q, %v: want one for both shares", c.Notices, err)
	}
}

// Sockets that the service manager has handed over begin at file descriptor 3.
func TestHandedSockets(t *testing.T) {
	for _, tt := range []struct {
		handed, args []string
		want         []int  // the fd of each share
		mistake      string // or this
	}{
		{[]string{"x"}, []string{"--shared-dir=/a"}, []int{3}, ""},
		{[]string{"x"}, []string{"--shared-dir=/a", "--fd=3"}, []int{3}, ""},
		{[]string{"x"}, []string{"--shared-dir=/a", "--socket-path=s"}, []int{-1}, ""},
		{[]string{"x", "y"}, []string{"--shared-dir=/a", "--fd=y"}, []int{4}, ""},
		{[]string{"x", "7", "y"}, []string{"--share=/a,fd=y", "--share=/b,fd=x"}, []int{5, 3}, ""},
		{[]string{"x", "7"}, []string{"--shared-dir=/a", "--fd=7"}, []int{7}, ""},
		{nil, []string{"--shared-dir=/a"}, nil, "--socket-path is missing"},
		{[]string{"x", "y"}, []string{"--shared-dir=/a"}, nil, "2 sockets were handed over (x, y): say by --fd which one to listen on"},
		{[]string{"x", "y"}, []string{"--shared-dir=/a", "--fd=z"}, nil, `--fd cannot be "z": not a number from 0 up, nor the name of a socket that was handed over (x, y)`},
		{[]string{"x"}, []string{"--share=/a"}, nil, "--socket-path is missing"},
		{[]string{"x"}, []string{"--share=/a,fd=x", "--share=/b,fd=x"}, nil, "--share /b: another share has the same socket"},
	} {
		c, err := Parse(tt.args, tt.handed)
		if (err != nil) != (tt.mistake != "") || err != nil && !strings.HasPrefix(err.Error(), tt.mistake) {
			t.Errorf("%q with %q: %v, want %q", tt.args, tt.handed, err, tt.mistake)
			continue
		}
		var got []int
		for _, s := range c.Shares {
			got = append(got, s.FD)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q with %q: fds %v, want %v", tt.args, tt.handed, got, tt.want)
		}
	}
}
