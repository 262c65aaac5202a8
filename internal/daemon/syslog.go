// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

// systemLog is a sink that sends messages to the host's log (RFC 3164, in the form of local programs) over
// a connection that was made before the sandbox. The facility is that of the Rust virtiofsd.
type systemLog struct {
	conn net.Conn
	pid  int // that the log shows
}

// Severities and the facility of syslog(3).
const (
	severityError   = 3
	severityWarning = 4
	severityInfo    = 6
	severityDebug   = 7
	facilityUser    = 1 << 3
)

func (s systemLog) print(e zapcore.Entry, module, text string) error {
	severity := severityDebug
	switch {
	case e.Level >= zapcore.ErrorLevel:
		severity = severityError
	case e.Level >= zapcore.WarnLevel:
		severity = severityWarning
	case e.Level >= zapcore.InfoLevel:
		severity = severityInfo
	}
	_, err := fmt.Fprintf(s.conn, "<%d>%s virtiofsd-go[%d]: %s: %s\n", facilityUser|severity, e.Time.Format(time.Stamp), s.pid, module, text)
	return err
}

// dialSyslog connects to the host's log and returns the connection as a file.
func dialSyslog() (*os.File, error) {
	const path = "/dev/log"
	for _, network := range []string{"unixgram", "unix"} {
		c, err := net.Dial(network, path)
		if err != nil {
			if network == "unix" {
				return nil, err
			}
			continue
		}
		defer c.Close()
		return c.(*net.UnixConn).File()
	}
	return nil, os.ErrNotExist
}

// systemLogOn returns the logger over the connection f, which it leaves to the caller.
func systemLogOn(f *os.File, level config.LogLevel, pid int) (*zap.Logger, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return zap.New(lineCore{LevelEnabler: levels[level], out: systemLog{c, pid}}), nil
}

// openLog returns the logger that cfg asks for, and the connection to the host's log, if that is used.
// Where the host has no log to send to, it is standard error, with a warning.
func openLog(cfg config.Config, stderr io.Writer) (log *zap.Logger, syslog *os.File) {
	log = newLogger(stderr, cfg.LogLevel)
	if cfg.Syslog {
		f, err := dialSyslog()
		if err == nil {
			var sys *zap.Logger
			if sys, err = systemLogOn(f, cfg.LogLevel, os.Getpid()); err == nil {
				log, syslog = sys, f
			}
		}
		if err != nil {
			log.Warn("--syslog: there is no system log here, messages go to standard error", zap.Error(err))
		}
	}
	if v, ok := os.LookupEnv("RUST_LOG"); ok {
		log.Info("RUST_LOG is not looked at: --log-level says what is logged", zap.String("RUST_LOG", v))
	}
	for _, notice := range cfg.Notices {
		log.Warn(notice)
	}
	return log, syslog
}
