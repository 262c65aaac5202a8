// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"runtime"
	"time"
)

// pace has a loop go through Go's scheduler now and then, though there is nobody to make room for.
//
// A goroutine that is on its thread for 10 ms without that counts as one that hogs its processor, however
// often it sleeps in system calls. Then the runtime's monitor (sysmon, Go runtime/proc.go) tries to take the
// processor away at each look, looks every 20 µs instead of every 10 ms, and sends signals: a tenth of
// what a small request costs. To go through the scheduler costs two wake-ups, once in 8 ms.
type pace struct {
	last     time.Time
	requests int
}

const (
	paceInterval = 8 * time.Millisecond
	paceRequests = 16 // handled between two looks at the clock
)

// step is called for each request.
func (p *pace) step() {
	if p.requests++; p.requests < paceRequests {
		return
	}
	p.requests = 0
	if now := time.Now(); now.Sub(p.last) >= paceInterval {
		p.last = now
		runtime.Gosched()
	}
}
