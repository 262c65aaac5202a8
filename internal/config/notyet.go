// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"

	"github.com/spf13/pflag"
)

// missing are options of the Rust virtiofsd that are accepted and have no effect yet: what the user
// is told who gives one. A row goes when its option works.
var missing = []struct {
	option   string
	harmless string // a value that asks for nothing
}{
	{option: "migration-mode"}, {option: "migration-on-error"},
	{option: "migration-verify-handles", harmless: "false"}, {option: "migration-confirm-paths", harmless: "false"},
}

// notYet are the notices about options in flags that have no effect, one each.
func notYet(flags ...*pflag.FlagSet) []string {
	var lines []string
	for _, m := range missing {
		given := func(fs *pflag.FlagSet) bool {
			f := fs.Lookup(m.option)
			return f != nil && f.Changed && f.Value.String() != m.harmless
		}
		if !slices.ContainsFunc(flags, given) {
			continue
		}
		lines = append(lines, fmt.Sprintf("--%s has no effect yet", m.option))
	}
	return lines
}
