// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

// traceLevel is one below zap's lowest: every message of the VMM.
const traceLevel = zapcore.DebugLevel - 1

// levels are zap's numbers for our names. Nothing is logged as FatalLevel: off.
var levels = map[config.LogLevel]zapcore.Level{
	config.LogOff:   zapcore.FatalLevel,
	config.LogError: zapcore.ErrorLevel,
	config.LogWarn:  zapcore.WarnLevel,
	config.LogInfo:  zapcore.InfoLevel,
	config.LogDebug: zapcore.DebugLevel,
	config.LogTrace: traceLevel,
}

// newLogger returns a logger that prints messages from level up to w, one line each:
//
//	[2026-01-02T03:04:05Z INFO  virtiofsd_go] text key=value
//
// which is the form of the Rust virtiofsd, whose lines other programs look for. A message is one
// Write. zap's own set-up functions are not used: they bring in an HTTP server.
func newLogger(w io.Writer, level config.LogLevel) *zap.Logger {
	return zap.New(lineCore{LevelEnabler: levels[level], out: &stream{w: w}})
}

// sink takes the messages. It is safe for concurrent use.
type sink interface {
	print(e zapcore.Entry, module, text string) error
}

// stream is a sink that writes lines with time and level to w.
type stream struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *stream) print(e zapcore.Entry, module, text string) error {
	line := fmt.Sprintf("[%s %-5s %s] %s\n", e.Time.UTC().Format(time.RFC3339), levelName(e.Level), module, text)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := io.WriteString(s.w, line)
	return err
}

// lineCore is a zapcore.Core that makes one line of a message. A value, so With copies it.
type lineCore struct {
	zapcore.LevelEnabler
	out    sink
	fields string // " key=value" of each With
}

func (c lineCore) With(fields []zapcore.Field) zapcore.Core {
	c.fields += renderFields(fields)
	return c
}

func (c lineCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c lineCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	module := "virtiofsd_go"
	if e.LoggerName != "" {
		module += "::" + e.LoggerName
	}
	return c.out.print(e, module, printable(e.Message)+c.fields+renderFields(fields))
}

func (c lineCore) Sync() error { return nil }

func levelName(l zapcore.Level) string {
	if l == traceLevel {
		return "TRACE"
	}
	return l.CapitalString()
}

// renderFields writes the fields in their order. A field may add several keys or none.
func renderFields(fields []zapcore.Field) string {
	var b strings.Builder
	for _, f := range fields {
		m := zapcore.NewMapObjectEncoder()
		f.AddTo(m)
		for _, k := range slices.Sorted(maps.Keys(m.Fields)) {
			fmt.Fprintf(&b, " %s=%s", k, quoted(fmt.Sprint(m.Fields[k])))
		}
	}
	return b.String()
}

// quoted makes one word of s. Names of files come from guests, so nothing in them may end the
// line or reach a terminal as a control character.
func quoted(s string) string {
	if s == "" || strings.ContainsAny(s, " \"=") || s != printable(s) {
		return strconv.Quote(s)
	}
	return s
}

// printable replaces what is not a printable character.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// traceWriter logs each line that is written to it. Lines must not be split between writes.
type traceWriter struct{ log *zap.Logger }

func (w traceWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		w.log.Log(traceLevel, strings.TrimSuffix(line, "\n"))
	}
	return len(p), nil
}
