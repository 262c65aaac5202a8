// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

// printed logs with level and returns the lines with their time cut off.
func printed(t *testing.T, level config.LogLevel, logTo func(*zap.Logger)) []string {
	t.Helper()
	var b bytes.Buffer
	logTo(newLogger(&b, level))
	if b.Len() == 0 {
		return nil
	}
	stamp := regexp.MustCompile(`^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ `)
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, l := range lines {
		if !stamp.MatchString(l) {
			t.Errorf("no time at the start of %q", l)
		}
		lines[i] = stamp.ReplaceAllString(l, "[")
	}
	return lines
}

func TestLogLine(t *testing.T) {
	for _, tt := range []struct {
		name string
		log  func(*zap.Logger)
		want string
	}{
		{"plain", func(l *zap.Logger) { l.Info("Waiting for vhost-user socket connection...") },
			"[INFO  virtiofsd_go] Waiting for vhost-user socket connection..."},
		{"named", func(l *zap.Logger) { l.Named("vhostuser").Error("x") }, "[ERROR virtiofsd_go::vhostuser] x"},
		{"fields", func(l *zap.Logger) {
			l.With(zap.Int("queue", 3)).Warn("odd", zap.Error(errors.New("no such file")), zap.String("name", "f"), zap.Skip())
		}, `[WARN  virtiofsd_go] odd queue=3 error="no such file" name=f`},
		{"hostile name", func(l *zap.Logger) { l.Info("made", zap.String("name", "a\n[FAKE]\x1b[2J"), zap.String("to", "")) },
			`[INFO  virtiofsd_go] made name="a\n[FAKE]\x1b[2J" to=""`},
		{"hostile text", func(l *zap.Logger) { l.Info("two\nlines\x07") }, "[INFO  virtiofsd_go] two?lines?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := printed(t, config.LogInfo, tt.log); len(got) != 1 || got[0] != tt.want {
				t.Errorf("got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// A logger made by With must not change the one that it was made from.
func TestLogWithIsACopy(t *testing.T) {
	got := printed(t, config.LogInfo, func(l *zap.Logger) {
		a := l.With(zap.Int("n", 1))
		a.With(zap.Int("m", 2)).Info("b")
		a.Info("a")
		l.Info("l")
	})
	want := []string{"[INFO  virtiofsd_go] b n=1 m=2", "[INFO  virtiofsd_go] a n=1", "[INFO  virtiofsd_go] l"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLogLevels(t *testing.T) {
	order := []zapcore.Level{zap.ErrorLevel, zap.WarnLevel, zap.InfoLevel, zap.DebugLevel, traceLevel}
	for level, want := range map[config.LogLevel]int{
		config.LogOff: 0, config.LogError: 1, config.LogWarn: 2, config.LogInfo: 3, config.LogDebug: 4, config.LogTrace: 5,
	} {
		got := printed(t, level, func(l *zap.Logger) {
			for _, at := range order {
				l.Log(at, "m")
			}
		})
		if len(got) != want {
			t.Errorf("%s prints %q, want the first %d of %v", level, got, want, order)
		}
		if level == config.LogTrace && got[4] != "[TRACE virtiofsd_go] m" {
			t.Errorf("trace line is %q", got[4])
		}
	}
}
