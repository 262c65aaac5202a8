// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"strconv"

	"github.com/spf13/pflag"
)

// place is a line of a file; none stands for the command line.
type place struct {
	file string
	line int
}

func (p place) String() string { return p.file + ":" + strconv.Itoa(p.line) }

// setting is one option that was given, with its value.
type setting struct {
	option, value string
	at            place
	share         *shareText // of --share, and of a section of a file
}

// settings are options in the order in which they were given.
type settings []setting

// lockPoint is a --locked: what was given before it cannot be widened by what comes after.
type lockPoint struct {
	after int // the number of settings before it
	at    place
}

// commandLine is what the user has given, in its order, with the lines of a --config in its place.
type commandLine struct {
	settings settings
	locks    []lockPoint
	words    []string // that are no options
	err      error    // mistakes in files
}

// gather reads args and the files that they name. The error is the parser's.
func gather(args, handed []string) (*commandLine, error) {
	c := &commandLine{}
	flags := newLine(handed).flags
	err := flags.ParseAll(args, func(f *pflag.Flag, value string) error {
		c.err = errors.Join(c.err, c.add(f.Name, value))
		return nil
	})
	c.words = flags.Args()
	return c, err
}

// add takes one option of the command line.
func (c *commandLine) add(option, value string) error {
	switch option {
	case "config":
		// A file that others may name is not even read: messages about it would show its contents.
		if len(c.locks) > 0 {
			return wrong("config", "%s is given after --locked, when no more options are taken from files: leave it out", value)
		}
		return c.addFile(value)
	case "locked":
		return c.lock(value, place{})
	case "share":
		c.settings = append(c.settings, setting{option: option, share: shareItems(value)})
	default:
		c.settings = append(c.settings, setting{option: option, value: value})
	}
	return nil
}

// lock takes a --locked with its value, which can only be true.
func (c *commandLine) lock(value string, at place) error {
	if on, err := strconv.ParseBool(value); err != nil || !on {
		return &mistake{option: "locked", text: " cannot be " + strconv.Quote(value) + ": it is given, or left out", share: -1, at: at}
	}
	c.locks = append(c.locks, lockPoint{len(c.settings), at})
	return nil
}

// asks tells whether an option that asks for a text instead of serving is given.
func (s settings) asks(option string) bool {
	for _, one := range s {
		if on, err := strconv.ParseBool(one.value); one.option == option && err == nil && on {
			return true
		}
	}
	return false
}
