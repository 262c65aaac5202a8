// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// guestLogLines bounds the log lines of one kind that a guest can cause in a second.
const guestLogLines = 5

// Options say how a session presents itself to its guests. The zero value is good.
type Options struct {
	// MaxWrite is the most data bytes of one WRITE, and the most that the guest asks for in
	// one READ: 4096 up to 1 MiB, rounded down to whole pages of 4 KiB. 0: 1 MiB.
	MaxWrite uint32
	// TimeGran is the granularity of time stamps in nanoseconds. 0: 1.
	TimeGran uint32
	// MaxBackground is how many read-ahead, writeback and asynchronous requests the guest
	// keeps in flight. 0: 65535.
	MaxBackground uint16
	// Logger takes a line per INIT and per panic of the file system, of equal ones a few each
	// second, and at debug level one per request. nil: none.
	Logger *zap.Logger
}

// withDefaults returns o with its zero values filled in and the others in bounds.
func (o Options) withDefaults() Options {
	if o.MaxWrite == 0 {
		o.MaxWrite = maxMaxWrite
	}
	o.MaxWrite = min(max(o.MaxWrite, fusePage), maxMaxWrite) &^ (fusePage - 1)
	if o.TimeGran == 0 {
		o.TimeGran = 1
	}
	if o.MaxBackground == 0 {
		o.MaxBackground = 1<<16 - 1
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

// Session serves one file system to one guest. It outlives what a guest calls a mount: INIT
// begins anew, DESTROY ends. All methods may be called by any goroutine.
type Session struct {
	fs   fuse.RawFileSystem
	has  extras
	opts Options
	// log is for debugging; guestLog takes what a guest can provoke, guestLogLines equal
	// lines a second.
	log, guestLog *zap.Logger
	inflight      *inflight

	// live is what the last INIT agreed on; nil without a session. A request that loaded
	// other params than are live once it is in flight is too late.
	live   atomic.Pointer[params]
	resets atomic.Uint64 // calls of Reset, so that INIT sees one that comes meanwhile

	control sync.Mutex // INIT, DESTROY and what Reset leaves to do, one at a time
	dirty   bool       // the file system may hold state of a session; guarded by control
}

// params is what INIT agreed on. It never changes.
type params struct {
	flags    uint64 // fuse.CAP_*
	maxWrite uint32 // bytes
}

// NewSession returns a session without a guest's INIT. The caller keeps fs, and closes it when
// no Handle is running any more. fs.Init is not called: there is no *fuse.Server, and go-fuse's
// own file systems answer ENOSYS to notifications as long as they got none.
func NewSession(fs fuse.RawFileSystem, o Options) *Session {
	o = o.withDefaults()
	sampled := o.Logger.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Second, guestLogLines, 0)
	}))
	return &Session{fs: fs, has: findExtras(fs), opts: o, log: o.Logger, guestLog: sampled, inflight: newInflight()}
}

// Handle carries out r and returns the length of its reply in bytes, 0 for requests that have
// none. With inline set it does not block: a request that might returns again=true, nothing of
// it done, and the caller hands it to Handle without inline on a goroutine that may block, or to
// Refuse. An INTERRUPT finds it in between, too.
//
// A memory fault in r's ranges is a panic, see the package comment; r can be used again.
func (s *Session) Handle(r *Request, inline bool) (written int, again bool) {
	if r.flight.onWay {
		defer s.inflight.turnBack(r) // unless it gets as far as the file system
	}
	if !r.start(inline) {
		return 0, false
	}
	st := s.handle(r)
	if r.again {
		r.dropRanges()
		if !r.op.control {
			s.inflight.start(r, r.header().Unique)
		}
		return 0, true
	}
	if s.log.Core().Enabled(zap.DebugLevel) {
		s.log.Debug("request", zap.String("operation", r.op.name), zap.Uint64("unique", r.header().Unique),
			zap.Uint64("node", r.header().NodeId), zap.Stringer("status", st))
	}
	return r.finish(st), false
}

// Refuse answers a request for which Handle has returned again=true with an error, and returns the
// length of the reply. It does not block.
func (s *Session) Refuse(r *Request, st fuse.Status) (written int) {
	s.inflight.turnBack(r)
	return r.finish(st)
}

// handle is Handle without the reply.
func (s *Session) handle(r *Request) fuse.Status {
	r.silent = r.op.noReply
	if st := r.checkLength(); !st.Ok() {
		return st
	}
	if r.room < outHeaderSize && !r.op.noReply && !r.op.anyRoom {
		return errMalformed // and nobody to tell
	}
	r.params = s.live.Load()
	if r.params == nil && !r.op.control {
		return errNoSession
	}
	if r.inline && r.op.blocks == always {
		// INIT and DESTROY. Workers may all be taken by requests of the session that they
		// end, so it ends now.
		s.end()
		r.again = true
		return fuse.OK
	}
	if r.inline && s.mayBlock(r) {
		r.again = true
		return fuse.OK
	}
	if st := r.decode(&s.has); !st.Ok() {
		return st
	}
	if r.op.control {
		return s.call(r)
	}
	return s.enter(r)
}

// end lets no request but INIT into the file system any more and cancels those inside.
func (s *Session) end() {
	s.live.Store(nil)
	s.inflight.cancelAll()
}

// enter calls the file system unless the session has ended. A session ends first and cancels
// what is in flight then, so a request that still sees it live is cancelled and waited for.
func (s *Session) enter(r *Request) fuse.Status {
	s.inflight.enter(r, r.header().Unique)
	defer s.inflight.leave(r)
	if s.live.Load() != r.params {
		return errNoSession
	}
	return s.call(r)
}

// mayBlock reports whether r has to go to a worker.
func (s *Session) mayBlock(r *Request) bool {
	switch r.op.blocks {
	case never:
		return false
	case ifFileSystemSays:
		return s.has.blocking != nil && s.has.blocking.MayBlock(uint32(r.op.code))
	case tryFirst:
		if s.has.readvNowait != nil {
			return false
		}
	case forOthers:
		return s.has.blocking == nil || s.has.blocking.MayBlock(uint32(OpSetlk))
	}
	return s.has.blocking == nil || s.has.blocking.MayBlock(uint32(r.op.code))
}

// Interrupt cancels every request that is inside the file system now. Requests that enter later
// are not touched.
func (s *Session) Interrupt() {
	s.inflight.cancelAll()
}

// Hurry cancels every request that is inside the file system and each that enters it until end
// is called: for waiting until queues are empty.
func (s *Session) Hurry() (end func()) {
	s.inflight.hurry.Add(1)
	s.inflight.cancelAll()
	return sync.OnceFunc(func() { s.inflight.hurry.Add(-1) })
}

// HurryWaits is Hurry for requests that wait for other requests of a guest (WaitsForOthers).
func (s *Session) HurryWaits() (end func()) {
	s.inflight.rush.Add(1)
	s.inflight.cancelWaits()
	return sync.OnceFunc(func() { s.inflight.rush.Add(-1) })
}

// Reset ends the session as DESTROY does, on behalf of the device: what is in flight is
// cancelled, later requests but INIT get EIO. It waits for nobody. The file system is reset at
// once when nothing is in flight, else as soon as that is so.
func (s *Session) Reset() {
	s.resets.Add(1)
	s.end()
	if s.control.TryLock() {
		done := s.wipe(false)
		s.control.Unlock()
		if done {
			return
		}
	}
	go func() {
		s.control.Lock()
		defer s.control.Unlock()
		if s.live.Load() == nil { // no INIT was faster
			s.wipe(true)
		}
	}()
}

// wipe resets the file system when nobody is inside, or, with wait, waits for that. It reports
// whether it did. control is held and the session has ended.
func (s *Session) wipe(wait bool) bool {
	if !s.dirty {
		return true
	}
	if !s.inflight.drain(wait) {
		return false
	}
	s.resetFileSystem()
	s.dirty = false
	return true
}
