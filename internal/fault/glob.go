// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"path"
	"slices"
	"strings"
)

// anyDepth stands for any number of components, none included.
const anyDepth = "**"

// glob is a pattern of paths, by components.
type glob []string

func parseGlob(s string) (glob, error) {
	if s == "/" {
		return glob{}, nil
	}
	rest, rooted := strings.CutPrefix(s, "/")
	g := strings.Split(rest, "/")
	switch {
	case slices.Contains(g, ""):
		return nil, errors.New("path= has an empty name in it")
	case !rooted && len(g) > 1:
		return nil, errors.New("path= is from the share's root on and begins with a slash, or is a single name")
	case !rooted:
		g = glob{anyDepth, g[0]}
	}
	for _, c := range g {
		if _, err := path.Match(c, ""); err != nil {
			return nil, errors.New("path= has a [ without its ], or nothing behind a \\")
		}
	}
	return g, nil
}

// match tells whether the pattern fits a path that begins with "/". It takes steps in proportion
// to the product of both lengths at most: of several ** only the last one is tried anew.
func (g glob) match(p string) bool {
	p, ok := strings.CutPrefix(p, "/")
	if !ok {
		return false
	}
	var name []string
	if p != "" {
		name = strings.Split(p, "/")
	}
	i, j := 0, 0
	star, from := -1, 0 // the last ** in g, and the name up to which it reaches
	for j < len(name) {
		switch {
		case i < len(g) && g[i] == anyDepth:
			star, from = i, j
			i++
		case i < len(g) && matches(g[i], name[j]):
			i, j = i+1, j+1
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(g) && g[i] == anyDepth {
		i++
	}
	return i == len(g)
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil // it was checked
}
