// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite what testdata/*.txt expects; review the change")

// TestTranscripts replays whole conversations of front-ends: every message is sent, every
// reply compared byte by byte, and the trace of it all, with the calls of the device, must be
// the transcript.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("transcripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			checkLeaks(t)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			if !strings.HasPrefix(lines[0], "# source: ") {
				t.Errorf("first line does not say where this comes from: %q", lines[0])
			}
			trace := replay(t, lines)
			if *update {
				merged := strings.Join(merge(lines, trace), "\n") + "\n"
				if err := os.WriteFile(file, []byte(merged), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compare(t, events(lines), trace)
		})
	}
}

// replay plays the front-end's part of a transcript and returns the trace.
func replay(t *testing.T, lines []string) []string {
	dev := deviceOf(t, lines)
	var trace bytes.Buffer
	p := serve(t, dev, &trace)
	if *update {
		go io.Copy(io.Discard, p.sock)
	}
	for n, line := range lines {
		switch {
		case line == "> EOF":
			_ = p.sock.CloseWrite()
			if err := <-p.done; err != nil {
				t.Errorf("Serve: %v", err)
			}
			p.sock.Close()
			p.stop()
		case strings.HasPrefix(line, "> "):
			r, flags, payload, fds := parseMessage(t, line, false)
			p.send(r, flags, payload, fds...)
		case strings.HasPrefix(line, "< ") && !*update:
			r, flags, payload, _ := parseMessage(t, line, true)
			want := append(Header{r, flags, uint32(len(payload))}.Append(nil), payload...)
			got := make([]byte, len(want))
			_ = p.sock.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.ReadFull(p.sock, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("line %d: reply %x (%v), want %x", n+1, got, err, want)
			}
		}
	}
	out := strings.Split(strings.TrimSpace(trace.String()), "\n")
	compare(t, dev.calls, callsOf(out))
	return events(out)
}

// deviceOf makes the device that the transcript's header describes; its queues stop where
// the transcript says.
func deviceOf(t *testing.T, lines []string) *fakeDevice {
	for _, line := range lines {
		rest, ok := strings.CutPrefix(line, "# device: ")
		if !ok {
			continue
		}
		f := fieldsOf(rest)
		config, err := hex.DecodeString(f["config"])
		if f["config"] == "none" {
			config, err = nil, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		dev := newFakeDevice(t, int(number(t, f["queues"])), config)
		dev.features = number(t, f["features"])
		for _, l := range lines {
			if strings.HasPrefix(l, "= StopQueue ") {
				dev.bases = append(dev.bases, uint16(number(t, fieldsOf(l)["base"])))
			}
		}
		return dev
	}
	t.Fatal("no device line")
	return nil
}

// events drops the comments.
func events(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		return l == "" || strings.HasPrefix(l, "#")
	})
}

func callsOf(lines []string) (calls []string) {
	for _, l := range lines {
		if c, ok := strings.CutPrefix(l, "= "); ok {
			calls = append(calls, c)
		}
	}
	return calls
}

// merge puts the comments of old in front of the same messages in the new trace.
func merge(old, trace []string) (out []string) {
	next := 0
	for _, line := range trace {
		if strings.HasPrefix(line, "> ") {
			for ; next < len(old) && !strings.HasPrefix(old[next], "> "); next++ {
				if strings.HasPrefix(old[next], "#") {
					out = append(out, old[next])
				}
			}
			next++
		}
		out = append(out, line)
	}
	return out
}

func compare(t *testing.T, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		w, g := "(end)", "(end)"
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			t.Fatalf("event %d differs\nwant %s\ngot  %s", i+1, w, g)
		}
	}
}

// parseMessage is the reverse of the tracer's message lines.
func parseMessage(t failer, line string, reply bool) (r Request, flags uint32, payload []byte, fds []int) {
	t.Helper()
	words := strings.Fields(line)[1:]
	r, err := requestByName(words[0])
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	layout := layoutOf(r, reply)
	sizes := map[string]int{}
	for _, f := range append(slices.Clone(layoutRegion), layout...) {
		sizes[f.name] = f.size
	}
	for _, w := range words[1:] {
		key, val, _ := strings.Cut(w, "=")
		switch {
		case key == "flags":
			flags = uint32(number(t, val))
		case key == "raw":
			raw, err := hex.DecodeString(val)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			payload = append(payload, raw...)
		case key == "fds":
			for kind := range strings.SplitSeq(val, ",") {
				fds = append(fds, openKind(t, kind))
			}
		case sizes[key] == 4:
			payload = binary.NativeEndian.AppendUint32(payload, uint32(number(t, val)))
		case sizes[key] == 8:
			payload = binary.NativeEndian.AppendUint64(payload, number(t, val))
		default:
			t.Fatalf("%s: no field %q", line, key)
		}
	}
	return r, flags, payload, fds
}

func requestByName(name string) (Request, error) {
	if n, ok := strings.CutPrefix(name, "UNKNOWN_"); ok {
		v, err := strconv.ParseUint(n, 10, 32)
		return Request(v), err
	}
	i := slices.Index(requestNames[:], name)
	if i < 1 {
		return 0, errors.New("no such message")
	}
	return Request(i), nil
}

// openKind opens a descriptor as the tracer's fdKind names it.
func openKind(t failer, kind string) int {
	t.Helper()
	switch {
	case strings.HasPrefix(kind, "mem:"):
		return memFD(t, int64(number(t, kind[4:])))
	case kind == "eventfd":
		return eventFD(t)
	case kind == "pipe":
		return pipeFD(t)
	case kind == "socket":
		return sockFD(t)
	}
	t.Fatalf("descriptor of kind %q", kind)
	return -1
}

func number(t failer, s string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return v
}

func fieldsOf(s string) map[string]string {
	m := map[string]string{}
	for w := range strings.FieldsSeq(s) {
		if k, v, ok := strings.Cut(w, "="); ok {
			m[k] = v
		}
	}
	return m
}

// TestTraceRoundTrip: what the tracer writes of a message is that message.
func TestTraceRoundTrip(t *testing.T) {
	checkLeaks(t)
	region := MemRegion{GPA: 1, Size: 2, UserAddr: 3, FileOffset: 4}
	for _, m := range []message{
		{Header: Header{SetVringNum, 0x9, 0}, payload: VringState{7, 8}.Append(nil)},
		{Header: Header{SetVringAddr, 1, 0}, payload: VringAddr{1, 1, 2, 3, 4, 5}.Append(nil)},
		{Header: Header{SetMemTable, 1, 0}, payload: AppendMemTable(nil, []MemRegion{region, region})},
		{Header: Header{AddMemReg, 1, 0}, payload: AppendSingleRegion(nil, region)},
		{Header: Header{SetVringKick, 1, 0}, payload: AppendU64(nil, 0x101)},
		{Header: Header{GetConfig, 1, 0}, payload: append(ConfigRange{1, 2, 3}.Append(nil), 0, 1)},
		{Header: Header{SetVringNum, 1, 0}, payload: []byte{1, 2, 3}},
		{Header: Header{Request(99), 0, 0}, payload: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{Header: Header{GetFeatures, 1, 0}},
	} {
		var b strings.Builder
		newTracer(&b).request(&m)
		r, flags, payload, _ := parseMessage(t, strings.TrimSpace(b.String()), false)
		if r != m.Request || flags != m.Flags || !bytes.Equal(payload, m.payload) {
			t.Errorf("%s came back as %v %#x %x", b.String(), r, flags, payload)
		}
	}
	for _, kind := range []string{"mem:0x1000", "eventfd", "pipe", "socket"} {
		fd := openKind(t, kind)
		if got := fdKind(fd); got != kind {
			t.Errorf("%s came back as %s", kind, got)
		}
		closeFD(fd)
	}
	if got := fmt.Sprint(fdKind(-1)); got != "none" {
		t.Errorf("no descriptor is %s", got)
	}
}
