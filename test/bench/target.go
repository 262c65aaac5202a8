// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/peers"
)

// errTargets says that the list of daemons cannot be measured.
var errTargets = errors.New("no daemon to measure")

// before names an older build of this daemon.
const before = "before"

// findTargets makes targets of a list of daemons with options: "ours", "rust --cache never". One
// that cannot be had is only in the second result, with the reason. older is the program of before,
// or empty.
func findTargets(list []string, binary, older string, fetch bool, say func(string, ...any)) ([]target, []Daemon, error) {
	known := append(peers.Find(fetch, say), peers.Ours(binary))
	if older != "" {
		p := peers.Ours(older)
		p.Name = before
		known = append(known, p)
	}
	var targets []target
	var daemons []Daemon
	for _, entry := range list {
		words := strings.Fields(entry)
		i := slices.IndexFunc(known, func(p peers.Peer) bool { return len(words) > 0 && p.Name == words[0] })
		if i < 0 {
			return nil, nil, fmt.Errorf("there is no daemon %q: there are ours, rust and c, and before with --before", entry)
		}
		name := strings.Join(words, " ")
		d := Daemon{Name: name, Version: known[i].Version}
		switch p := known[i]; {
		case contains(targets, name):
			return nil, nil, fmt.Errorf("%q is there twice", name)
		case p.Err == nil:
			targets = append(targets, newTarget(name, p, words[1:]))
		case p.Name == peers.Self:
			return nil, nil, fmt.Errorf("%s: %w (make build makes it)", binary, p.Err)
		default:
			d.Missing = p.Err.Error()
			say("%s cannot be measured: %v", name, p.Err)
		}
		daemons = append(daemons, d)
	}
	if len(targets) == 0 {
		return nil, nil, errTargets
	}
	return targets, daemons, nil
}

func newTarget(name string, p peers.Peer, args []string) target {
	return target{name: name, peer: p.Name != peers.Self, start: func(share, socket string) (server, time.Duration, error) {
		d, err := p.Start(share, socket, peers.Options{Args: args})
		if err != nil {
			return nil, 0, err
		}
		return d, d.Ready, nil
	}}
}

func contains(targets []target, name string) bool {
	return slices.Contains(targetNames(targets), name)
}
