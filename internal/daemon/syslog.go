// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"io"
	"log/syslog"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

// systemLog is a sink that sends messages to the host's log by /dev/log, which adds the time. The
// facility is that of the Rust virtiofsd.
type systemLog struct{ *syslog.Writer }

func (s systemLog) print(e zapcore.Entry, module, text string) error {
	text = module + ": " + text
	switch {
	case e.Level >= zapcore.ErrorLevel:
		return s.Err(text)
	case e.Level >= zapcore.WarnLevel:
		return s.Warning(text)
	case e.Level >= zapcore.InfoLevel:
		return s.Info(text)
	}
	return s.Debug(text)
}

// openLog returns the logger that cfg asks for. Where the host has no log to send to, it is
// standard error, with a warning.
func openLog(cfg config.Config, stderr io.Writer) *zap.Logger {
	log := newLogger(stderr, cfg.LogLevel)
	if cfg.Syslog {
		w, err := syslog.New(syslog.LOG_INFO|syslog.LOG_USER, "virtiofsd-go")
		if err == nil {
			log = zap.New(lineCore{LevelEnabler: levels[cfg.LogLevel], out: systemLog{w}})
		} else {
			log.Warn("--syslog: there is no system log here, messages go to standard error", zap.Error(err))
		}
	}
	if v, ok := os.LookupEnv("RUST_LOG"); ok {
		log.Info("RUST_LOG is not looked at: --log-level says what is logged", zap.String("RUST_LOG", v))
	}
	for _, notice := range cfg.Notices {
		log.Warn(notice)
	}
	return log
}
