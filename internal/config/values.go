// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/internal/fault"
)

// fdValue is the value of --fd: a number, or the name of a socket that the service manager has
// handed over. An own type also as "no file descriptor" shall not be printed as a default of -1.
type fdValue struct {
	to     *int
	handed []string
}

func (v fdValue) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 32)
	i := slices.Index(v.handed, s)
	switch {
	case err == nil && n >= 0:
		*v.to = int(n)
	case i >= 0:
		*v.to = firstFD + i
	case len(v.handed) > 0:
		return fmt.Errorf("not a number from 0 up, nor the name of a socket that was handed over (%s)", strings.Join(v.handed, ", "))
	default:
		return errors.New("not a number from 0 up")
	}
	return nil
}

func (v fdValue) String() string {
	if v.to == nil || *v.to < 0 {
		return ""
	}
	return strconv.Itoa(*v.to)
}

func (v fdValue) Type() string { return "int" }

// limitValue is the value of --rlimit-nofile, which is not printed as a default of -1 either.
type limitValue struct{ to *int64 }

func (v limitValue) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return errors.New("not a number from 0 up")
	}
	*v.to = n
	return nil
}

func (v limitValue) String() string {
	if v.to == nil || *v.to < 0 {
		return ""
	}
	return strconv.FormatInt(*v.to, 10)
}

func (v limitValue) Type() string { return "int" }

// off is a switch that turns something off that another option turns on: the last one counts.
type off struct{ to *bool }

func (v off) Set(s string) error {
	b, err := strconv.ParseBool(s)
	if err == nil {
		*v.to = !b
	}
	return err
}

func (v off) String() string { return "false" }
func (v off) Type() string   { return "bool" }

// already is a switch for what is on as long as nothing turns it off, which then counts.
type already struct{ to *bool }

func (v already) Set(s string) error {
	b, err := strconv.ParseBool(s)
	if err == nil && !b {
		*v.to = false
	}
	return err
}

func (v already) String() string { return "false" }
func (v already) Type() string   { return "bool" }

// handlesValue is the value of --inode-file-handles, with an older name of "prefer".
type handlesValue struct{ word[FileHandles] }

func (v handlesValue) Set(s string) error {
	if strings.EqualFold(s, "fallback") {
		s = string(FileHandlesPrefer)
	}
	return v.word.Set(s)
}

// faultValue is the value of --fault, of which each one is added.
type faultValue struct {
	to    *[]fault.Rule
	given *bool // the first one takes the place of the default
}

func newFaultValue(to *[]fault.Rule) faultValue { return faultValue{to, new(bool)} }

func (v faultValue) Set(s string) error {
	r, err := fault.Parse(s)
	if err != nil {
		return err
	}
	if !*v.given {
		*v.to, *v.given = nil, true
	}
	*v.to = append(*v.to, r)
	return nil
}

func (v faultValue) String() string {
	if v.to == nil {
		return ""
	}
	var rules []string
	for _, r := range *v.to {
		rules = append(rules, r.String())
	}
	return strings.Join(rules, "; ")
}

func (v faultValue) Type() string { return "rule" }
