// SPDX-License-Identifier: Apache-2.0

package peers

import "fmt"

// Options are settings that all daemons have, and those of one. The zero value is each daemon's
// own defaults.
type Options struct {
	// Cache is "never", "metadata", "auto" or "always", as the Rust daemon calls them; the C
	// daemon has no "metadata". "": the daemon's default, which is auto for all.
	Cache string
	// XAttr turns extended attributes on.
	XAttr bool
	// Args are further arguments, in the daemon's own words.
	Args []string
}

// rustArgs is the Rust daemon's command line, which this one has too.
func rustArgs(share, socket string, o Options) ([]string, error) {
	args := []string{"--socket-path=" + socket, "--shared-dir=" + share}
	if o.Cache != "" {
		args = append(args, "--cache="+o.Cache)
	}
	if o.XAttr {
		args = append(args, "--xattr")
	}
	return append(args, o.Args...), nil
}

// cCache are the C daemon's names of the cache policies.
var cCache = map[string]string{"never": "none", "auto": "auto", "always": "always"}

func cArgs(share, socket string, o Options) ([]string, error) {
	args := []string{"--socket-path=" + socket, "-o", "source=" + share}
	if o.Cache != "" {
		name, ok := cCache[o.Cache]
		if !ok {
			return nil, fmt.Errorf("the C daemon has no cache policy %q", o.Cache)
		}
		args = append(args, "-o", "cache="+name)
	}
	if o.XAttr {
		args = append(args, "-o", "xattr")
	}
	return append(args, o.Args...), nil
}
