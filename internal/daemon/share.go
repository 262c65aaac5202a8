// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	virtiofs "github.com/virtiofsd-go/virtiofsd-go"
	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/locks"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/xattrmap"
	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"github.com/virtiofsd-go/virtiofsd-go/internal/fault"
	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// share is a shared directory with its socket, ready to serve one VMM.
type share struct {
	fs     *hostfs.FS
	faults *fault.Injector // nil: none
	opts   virtiofs.Options
	sock   *net.UnixListener
	ended  func() // has the parent remove what belongs to the socket
	log    *zap.Logger
}

// common is what the shares of a process have in common.
type common struct {
	budget  int             // how many files each may keep open for its guest
	inodes  uint32          // how many files the guest of each may know
	workers int             // how many requests of each may wait for the host at once
	memory  guestmem.Limits // what each VM may have mapped here
	locks   *locks.Space    // where guests wait for each other's file locks
	pages   *cache.Cache    // pages of all files
}

// openShare opens the shared directory, of which root is an O_PATH fd that it takes over. The caller closes the
// share when nothing serves it.
func openShare(c config.Share, root int, all common, log *zap.Logger) (*share, error) {
	defer unix.Close(root)
	s := &share{log: log, opts: virtiofs.Options{Tag: c.Tag, Queues: c.NumRequestQueues, Workers: all.workers, Memory: all.memory, Logger: log}}
	if log.Core().Enabled(traceLevel) {
		s.opts.VhostUser.Trace = traceWriter{log.Named("vhostuser")}
	}
	conf, err := s.hostConfig(c, all)
	if err != nil {
		return nil, err
	}
	conf.RootFD, conf.WorkingProc = root, true
	if s.fs, err = hostfs.New(conf); err != nil {
		return nil, fmt.Errorf("opening the shared directory: %w", err)
	}
	if c.FileHandles == config.FileHandlesPrefer && !s.fs.UsesHandles() {
		s.log.Debug("file handles cannot be used: files are known by name")
	}
	return s, nil
}

// checkDir looks at the shared directory first, as a mistake there is common.
func checkDir(dir string) error {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the shared directory %s does not exist: create it, or correct --shared-dir", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the shared directory %s cannot be reached by user %d: let that user search the directories above it", dir, os.Geteuid())
	case err != nil:
		return fmt.Errorf("the shared directory: %w", err)
	case st.Mode().IsRegular():
		if unix.Faccessat(unix.AT_FDCWD, dir, unix.R_OK, unix.AT_EACCESS) != nil {
			return fmt.Errorf("the shared file %s may not be read by user %d: start the daemon as another user, or change the file's mode", dir, os.Geteuid())
		}
		return nil
	case !st.IsDir():
		return fmt.Errorf("%s is neither a directory nor a regular file: nothing else can be shared", dir)
	}
	if unix.Faccessat(unix.AT_FDCWD, dir, unix.R_OK|unix.X_OK, unix.AT_EACCESS) != nil {
		return fmt.Errorf("the shared directory %s may not be read and searched by user %d: start the daemon as another user, or change the directory's mode", dir, os.Geteuid())
	}
	return nil
}

// hostConfig is how package hostfs is told what c says.
func (s *share) hostConfig(c config.Share, all common) (hostfs.Config, error) {
	conf := hostfs.Config{
		Root:          c.SharedDir,
		Cache:         hostfs.CacheMode(c.Cache), // the same words
		Pages:         all.pages,
		XAttr:         c.XAttr,
		ACL:           hostfs.Negotiation(c.PosixACL), // the same words
		SecurityLabel: hostfs.Negotiation(c.SecurityLabel),
		ReadOnly:      c.ReadOnly,

		PosixLocks: c.PosixLock,
		Flock:      c.Flock,
		Locks:      all.locks,

		NoReadDirPlus:     c.NoReadDirPlus,
		AllowMMap:         c.AllowMMap,
		AllowDirectIO:     c.AllowDirectIO,
		PreserveNoAtime:   c.PreserveNoAtime,
		Writeback:         c.Writeback,
		KillPrivV2:        c.KillPrivV2,
		AnnounceSubmounts: c.AnnounceSubmounts,
		Handles:           hostfs.HandleMode(c.FileHandles), // the same words

		// Half for files that the guest knows, half for those that it has open.
		MaxFDs:     all.budget / 2,
		MaxHandles: all.budget - all.budget/2,
		MaxInodes:  all.inodes,
		OnLimit:    onLimit(s.log),
	}
	if err := readMaps(c, &conf); err != nil {
		return conf, err
	}
	if len(c.Faults) > 0 {
		s.faults = fault.New(c.Faults, s.log.Named("fault"))
		conf.Faults = s.faults
	}
	return conf, nil
}

// onLimit returns what logs that a guest has come to a limit: each one once a minute.
func onLimit(log *zap.Logger) func(string) {
	log = log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Minute, 1, 0)
	}))
	return func(limit string) {
		log.Warn("The guest is at its limit of " + limit + ": it gets errors until it has fewer")
	}
}

// run serves one VMM until it goes or ctx ends, and closes the share.
func (s *share) run(ctx context.Context) error {
	err := serveOne(ctx, s.sock, s.serve, s.log)
	return errors.Join(err, s.close())
}

// readMaps reads the rules by which ids and attributes are mapped. config has read them before.
func readMaps(c config.Share, conf *hostfs.Config) (err error) {
	if c.XAttrMap != "" {
		if conf.XAttrMap, err = xattrmap.Parse(c.XAttrMap); err != nil {
			return fmt.Errorf("--xattrmap: %w", err)
		}
	}
	if conf.UIDs, err = idmap.Parse(c.TranslateUID); err != nil {
		return fmt.Errorf("--translate-uid: %w", err)
	}
	if conf.GIDs, err = idmap.Parse(c.TranslateGID); err != nil {
		return fmt.Errorf("--translate-gid: %w", err)
	}
	return nil
}

// serve gives the share to the VMM at the other end of c, which it closes.
func (s *share) serve(ctx context.Context, c *net.UnixConn) error {
	return virtiofs.ServeConn(ctx, c, served(s.fs), s.opts)
}

// close closes the socket and the shared directory, which nothing uses any more.
func (s *share) close() error {
	s.sock.Close()
	s.ended()
	return s.closeDir()
}

func (s *share) closeDir() error {
	if s.faults != nil {
		s.faults.Close()
	}
	if s.fs == nil {
		return nil
	}
	return s.fs.Close()
}

// releaseOnSignal makes SIGUSR1 release the requests that hang by a fault rule, until stop is called.
// Without such rules the signal keeps its meaning, to end the process.
func releaseOnSignal(shares []*share) (stop func()) {
	var all []*fault.Injector
	for _, s := range shares {
		if s.faults != nil {
			all = append(all, s.faults)
		}
	}
	if len(all) == 0 {
		return func() {}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range signals {
			for _, f := range all {
				f.Release()
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-ended
	}
}
