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

// shareList returns the shares that the command line asks for, and the flags that each was set by.
// Options beside --share are the defaults of those in it.
func (l *line) shareList() (shares []Share, flags []*pflag.FlagSet, err error) {
	if len(l.shares) == 0 {
		l.share.imply()
		if l.share.SocketPath == "" && l.share.FD == -1 {
			l.share.FD, err = l.handedFD()
		}
		return []Share{l.share}, nil, errors.Join(emptyValues(l.flags), err)
	}
	var errs []error
	for _, name := range exclusive {
		if l.flags.Changed(name) {
			errs = append(errs, fmt.Errorf("--%s and --share exclude each other: --share DIR,socket=PATH says both", name))
		}
	}
	errs = append(errs, emptyValues(l.flags))
	for _, text := range l.shares {
		s, fs, err := parseShare(l.share, text, l.handed)
		if err != nil {
			errs = append(errs, fmt.Errorf("--share %s: %w", text, err))
		}
		shares, flags = append(shares, s), append(flags, fs)
	}
	return shares, flags, errors.Join(errs...)
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

// parseShare reads DIR,name=value,name,... over the defaults. Two commas are one that is part of a
// name or value.
func parseShare(defaults Share, text string, handed []string) (Share, *pflag.FlagSet, error) {
	s := defaults
	fs := shareGroups(&s, handed).all()
	for i, item := range splitList(text) {
		name, value, hasValue := strings.Cut(item, "=")
		f := fs.Lookup(name)
		switch {
		case i == 0:
			s.SharedDir = item
			continue
		case f == nil || name == "shared-dir":
			return s, fs, fmt.Errorf("%q is not an option of a share: see --help", name)
		case !hasValue && f.NoOptDefVal == "":
			return s, fs, fmt.Errorf("%s needs a value after a =", name)
		case !hasValue:
			value = f.NoOptDefVal
		}
		if err := fs.Set(name, value); err != nil {
			return s, fs, explain(err)
		}
	}
	s.imply()
	return s, fs, emptyValues(fs)
}
