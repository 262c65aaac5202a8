// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// maxFile is the size in bytes of the largest file of options that is read.
const maxFile = 1 << 20

// notInFiles are options that only a command line can have: those that name files and shares, for
// which a file has sections, those that ask for a text, and the old forms.
var notInFiles = []string{"config", "share", "help", "version", "print-capabilities", "socket", "compat-options", "compat-debug", "compat-foreground"}

// addFile reads the file of options that --config names.
func (c *commandLine) addFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return wrong("config", "%s cannot be read: %v", path, errors.Unwrap(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return wrong("config", "%s cannot be read: %v", path, errors.Unwrap(err))
	case len(text) > maxFile:
		return wrong("config", "%s is larger than 1 MiB: it is no file of options", path)
	}
	return c.addText(path, string(text))
}

// file is a file of options while it is read: lines "option = value" or "option", of which those
// behind a "[NAME]" are a share's, and comments behind a "#" at a line's beginning.
type file struct {
	line   place
	global *pflag.FlagSet
	shares *pflag.FlagSet
	given  map[string]int // the line in which each option of the section is given

	settings settings
	share    *shareText // of the section; nil before the first one
	locked   *setting
}

// addText takes the lines of a file. What is wrong is said with its line, all of it at once.
func (c *commandLine) addText(name, text string) error {
	var share Share
	f := &file{line: place{file: name}, global: newLine(nil).flags, shares: shareGroups(&share, nil).all(), given: map[string]int{}}
	var errs []error
	for l := range strings.Lines(text) {
		f.line.line++
		if err := f.add(strings.TrimSpace(l)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.line, err))
		}
	}
	c.settings = append(c.settings, f.settings...)
	if f.locked != nil {
		errs = append(errs, c.lock(f.locked.value, f.locked.at))
	}
	return errors.Join(errs...)
}

// add takes one line.
func (f *file) add(l string) error {
	switch {
	case l == "" || l[0] == '#':
		return nil
	case strings.ContainsFunc(l, func(r rune) bool { return r < ' ' && r != '\t' }):
		return errors.New("there is a control character in the line: write an option = value")
	case l[0] == '[':
		return f.addSection(l)
	}
	name, value, hasValue := strings.Cut(l, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	flag, err := f.lookup(name)
	if err != nil {
		return err
	}
	if value, err = fileValue(flag, value, hasValue); err != nil {
		return err
	}
	if first, ok := f.given[name]; ok && !repeats(flag) {
		return fmt.Errorf("%s is given in line %d already: leave one of them out", name, first)
	}
	f.given[name] = f.line.line
	s := setting{option: name, value: value, at: f.line}
	switch {
	case name == "locked":
		f.locked = &s
	case f.share != nil:
		f.share.items = append(f.share.items, s)
	default:
		f.settings = append(f.settings, s)
	}
	return nil
}

// addSection begins a share. Its name is only for the reader.
func (f *file) addSection(l string) error {
	name, ok := strings.CutSuffix(l[1:], "]")
	if !ok || strings.TrimSpace(name) == "" {
		return fmt.Errorf("%q begins no share: write its name between [ and ]", l)
	}
	f.share, f.given = &shareText{name: l}, map[string]int{}
	f.settings = append(f.settings, setting{option: "share", share: f.share, at: f.line})
	return nil
}

// lookup finds an option that can stand where the line is.
func (f *file) lookup(name string) (*pflag.Flag, error) {
	flag := f.global.Lookup(name)
	switch {
	case flag == nil:
		return nil, fmt.Errorf("%q is not an option: see --help, and write it without dashes", name)
	case slices.Contains(notInFiles, name):
		return nil, fmt.Errorf("%s cannot be given in a file", name)
	case f.share != nil && f.shares.Lookup(name) == nil:
		return nil, fmt.Errorf("%s is not an option of a share: write it above the first [NAME]", name)
	}
	return flag, nil
}

// fileValue is the value that a line means, which switches need not have.
func fileValue(flag *pflag.Flag, value string, hasValue bool) (string, error) {
	switch {
	case !hasValue && flag.NoOptDefVal == "":
		return "", fmt.Errorf("%s needs a value: write %[1]s = VALUE", flag.Name)
	case !hasValue:
		return flag.NoOptDefVal, nil
	case flag.Value.Type() == "bool":
		switch strings.ToLower(value) {
		case "yes", "on":
			return "true", nil
		case "no", "off":
			return "false", nil
		}
	}
	return value, nil
}

// repeats tells whether an option counts each time.
func repeats(flag *pflag.Flag) bool {
	kind := flag.Value.Type()
	return kind == "stringArray" || kind == "rule"
}
