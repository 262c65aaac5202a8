// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// exclusive are the options of the only share, which --share has a place of its own for.
var exclusive = []string{"shared-dir", "socket-path", "socket", "fd"}

// shareText is a share as it is written: behind --share, or as a section of a file.
type shareText struct {
	name  string // the text of --share, or [NAME]
	items settings
}

// parsedShare is a share with the flags that it was set by.
type parsedShare struct {
	Share
	flags  *pflag.FlagSet
	at     place            // of its section; none on a command line
	places map[string]place // of its own options
}

// shareItems reads DIR,name=value,name,... Two commas are one that is part of a name or value.
func shareItems(text string) *shareText {
	t := &shareText{name: "--share " + text}
	for i, item := range splitList(text) {
		if i == 0 {
			t.items = append(t.items, setting{option: "shared-dir", value: item})
			continue
		}
		name, value, hasValue := strings.Cut(item, "=")
		s := setting{option: name, value: value}
		if !hasValue {
			s.value = noValue
		}
		t.items = append(t.items, s)
	}
	return t
}

// noValue is the value of an item without a "="; it cannot be in an argument of a process.
const noValue = "\x00"

// shareList returns the shares that are asked for. Options beside --share are the defaults of those in it.
func (l *line) shareList() (shares []parsedShare, err error) {
	if len(l.shares) == 0 {
		l.share.imply()
		if l.share.SocketPath == "" && l.share.FD == -1 {
			l.share.FD, err = l.handedFD()
		}
		return []parsedShare{{Share: l.share, flags: l.flags}}, errors.Join(emptyValues(l.flags, l.places), err)
	}
	var errs []error
	for _, name := range exclusive {
		if l.flags.Changed(name) {
			err := wrong(name, "and --share exclude each other: --share DIR,socket=PATH says both, as does [NAME] in a file")
			errs = append(errs, eachMistake(err, func(m *mistake) { m.at = l.places[name] }))
		}
	}
	errs = append(errs, emptyValues(l.flags, l.places))
	for _, s := range l.shares {
		p, err := s.parseShare(l.share, l.handed)
		if err != nil {
			errs = append(errs, err)
		}
		shares = append(shares, p)
	}
	return shares, errors.Join(errs...)
}

// handedFD is the socket that the service manager has handed over; -1 if there is none.
func (l *line) handedFD() (int, error) {
	switch len(l.handed) {
	case 0:
		return -1, nil
	case 1:
		return firstFD, nil
	}
	return firstFD, fmt.Errorf("%d sockets were handed over (%s): say by --fd which one to listen on", len(l.handed), strings.Join(l.handed, ", "))
}

// parseShare sets what the text of a share says over the defaults.
func (s setting) parseShare(defaults Share, handed []string) (parsedShare, error) {
	p := parsedShare{Share: defaults, at: s.at, places: map[string]place{}}
	p.flags = shareGroups(&p.Share, handed).all()
	for i, item := range s.share.items {
		p.places[item.option] = item.at
		if err := p.set(item, i == 0 || s.at != place{}); err != nil {
			return p, s.explain(item, err)
		}
	}
	p.imply()
	if err := emptyValues(p.flags, p.places); err != nil {
		return p, s.explain(setting{}, err)
	}
	return p, nil
}

// set sets one option; mayBeDir is true where it may be the directory.
func (p *parsedShare) set(item setting, mayBeDir bool) error {
	f := p.flags.Lookup(item.option)
	switch {
	case item.option == "shared-dir" && mayBeDir:
		p.SharedDir = item.value
		return nil
	case f == nil || item.option == "shared-dir":
		return fmt.Errorf("%q is not an option of a share: see --help", item.option)
	case item.value == noValue && f.NoOptDefVal == "":
		return fmt.Errorf("%s needs a value after a =", item.option)
	case item.value == noValue:
		item.value = f.NoOptDefVal
	}
	if err := p.flags.Set(item.option, item.value); err != nil {
		return explain(err)
	}
	return nil
}

// explain says which share, or which line of a file, an error is about.
func (s setting) explain(item setting, err error) error {
	if s.at == (place{}) {
		return fmt.Errorf("%s: %w", s.share.name, err)
	}
	return eachMistake(err, func(m *mistake) {
		if item.at != (place{}) {
			m.at = item.at
		}
	})
}
