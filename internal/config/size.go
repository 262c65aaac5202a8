// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"strconv"
	"strings"
)

// units are the powers of 1024 that a size can be given in, as 64M, 64MB or 64MiB.
const units = "KMGT"

// errSize says what a size looks like.
var errSize = errors.New("not a size in bytes, such as 0, 256M or 1GiB")

// parseSize reads a number of bytes, with a unit in any case of letters or none.
func parseSize(s string) (int64, error) {
	s = strings.ToUpper(s)
	shift := 0
	digits := strings.TrimRight(s, units+"IB")
	switch unit := s[len(digits):]; {
	case unit == "", unit == "B":
	case len(unit) == 1, unit[1:] == "B", unit[1:] == "IB":
		if shift = 10 * (strings.IndexByte(units, unit[0]) + 1); shift == 0 {
			return 0, errSize
		}
	default:
		return 0, errSize
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n<<shift>>shift != n || int64(n<<shift) < 0 {
		return 0, errSize
	}
	return int64(n << shift), nil
}

// formatSize writes a size with the largest unit that leaves a whole number.
func formatSize(n int64) string {
	unit := ""
	for i := 0; n != 0 && n%1024 == 0 && i < len(units); i++ {
		n, unit = n/1024, units[i:i+1]+"iB"
	}
	return strconv.FormatInt(n, 10) + unit
}

// sizeValue is an option whose value is a size in bytes.
type sizeValue struct{ to *int64 }

func (v sizeValue) Set(s string) (err error) {
	n, err := parseSize(s)
	if err == nil {
		*v.to = n
	}
	return err
}

func (v sizeValue) String() string {
	if v.to == nil {
		return ""
	}
	return formatSize(*v.to)
}

func (v sizeValue) Type() string { return "size" }
