// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// mistake is what is wrong with one option.
type mistake struct {
	option string // without its dashes; "" if it is about all of a share
	text   string // what is wrong and what to do, behind the option's name
	share  int    // in Config.Shares; -1 if there is only one, or it is an option of the process
	dir    string // of that share
	at     place
}

// wrong makes a mistake; format goes on behind the option's name, or a ": " behind it.
func wrong(option, format string, args ...any) error {
	if option != "" && !strings.HasPrefix(format, ":") {
		format = " " + format
	}
	return &mistake{option: option, text: fmt.Sprintf(format, args...), share: -1}
}

// Error is one line. What is in a file is told by its place there, and without dashes.
func (m *mistake) Error() string {
	switch {
	case m.at != place{}:
		return m.at.String() + ": " + m.option + m.text
	case m.share >= 0:
		return "--share " + m.dir + ": " + m.dashed()
	}
	return m.dashed()
}

func (m *mistake) dashed() string {
	if m.option == "" {
		return m.text
	}
	return "--" + m.option + m.text
}

// leaves takes joined errors apart.
func leaves(err error) (all []error) {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, leaves(e)...)
		}
		return all
	}
	return []error{err}
}

// eachMistake hands the mistakes among joined errors to do, and returns err.
func eachMistake(err error, do func(*mistake)) error {
	for _, e := range leaves(err) {
		if m, ok := e.(*mistake); ok {
			do(m)
		}
	}
	return err
}

// explain turns the parser's error into a line that says what to do.
func explain(err error) error {
	var missing *pflag.ValueRequiredError
	if errors.As(err, &missing) {
		return fmt.Errorf("--%s needs a value after it (see --help)", missing.GetSpecifiedName())
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return wrong(invalid.GetFlag().Name, "cannot be %q: %s (see --help)", invalid.GetValue(), reason(invalid))
	}
	return fmt.Errorf("%s (see --help)", strings.ReplaceAll(err.Error(), "\n", " "))
}

// reason is the cause without the parser's function names, as in strconv.ParseInt's errors.
func reason(err *pflag.InvalidValueError) string {
	s := err.Unwrap().Error()
	if i := strings.LastIndex(s, ": "); i >= 0 {
		s = s[i+2:]
	}
	return s
}
