// SPDX-License-Identifier: Apache-2.0

package debs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoMirror says that the machine's own apt sources name no Debian archive.
var ErrNoMirror = errors.New("no Debian archive in /etc/apt/sources.list or /etc/apt/sources.list.d")

// defaultKeyring is where Debian's package debian-archive-keyring keeps the archive's keys.
const defaultKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// mirror is the archive that the machine itself installs from. Other suites of it are reached by
// the same URI, so no host name stands in this repository.
type mirror struct {
	uri      string
	signedBy string
}

// source returns an apt source in deb822 format for suites of the mirror.
func (m mirror) source(suites []string) string {
	return fmt.Sprintf("Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n",
		m.uri, strings.Join(suites, " "), m.signedBy)
}

// findMirror reads the apt sources below etc (normally /etc/apt) and returns the first that holds
// component main of the machine's own release.
func findMirror(etc, codename string) (mirror, error) {
	files, err := filepath.Glob(filepath.Join(etc, "sources.list.d", "*"))
	if err != nil {
		return mirror{}, err
	}
	for _, f := range append([]string{filepath.Join(etc, "sources.list")}, files...) {
		b, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return mirror{}, err
		}
		parse := parseOneLine
		if strings.HasSuffix(f, ".sources") {
			parse = parseDeb822
		}
		if m, ok := parse(string(b), codename); ok {
			return m, nil
		}
	}
	return mirror{}, ErrNoMirror
}

// parseDeb822 looks for the archive in the stanzas of a *.sources file (sources.list(5)).
func parseDeb822(text, codename string) (mirror, bool) {
	for stanza := range strings.SplitSeq(text, "\n\n") {
		f := map[string]string{}
		for line := range strings.SplitSeq(stanza, "\n") {
			if k, v, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
				f[strings.ToLower(k)] = strings.TrimSpace(v)
			}
		}
		uris := strings.Fields(f["uris"])
		if f["enabled"] == "no" || len(uris) == 0 || !hasWord(f["types"], "deb") ||
			!hasWord(f["suites"], codename) || !hasWord(f["components"], "main") {
			continue
		}
		return newMirror(uris[0], f["signed-by"]), true
	}
	return mirror{}, false
}

// parseOneLine looks for the archive in lines "deb [options] URI suite component...".
func parseOneLine(text, codename string) (mirror, bool) {
	sc := bufio.NewScanner(strings.NewReader(text))
	for sc.Scan() {
		line, ok := strings.CutPrefix(strings.TrimSpace(sc.Text()), "deb ")
		if !ok {
			continue
		}
		signedBy := ""
		if opts, rest, ok := strings.Cut(line, "]"); ok {
			line = rest
			for o := range strings.FieldsSeq(strings.Trim(opts, " [")) {
				if v, ok := strings.CutPrefix(o, "signed-by="); ok {
					signedBy = v
				}
			}
		}
		w := strings.Fields(line)
		if len(w) >= 3 && w[1] == codename && hasWord(strings.Join(w[2:], " "), "main") {
			return newMirror(w[0], signedBy), true
		}
	}
	return mirror{}, false
}

func newMirror(uri, signedBy string) mirror {
	if signedBy == "" {
		signedBy = defaultKeyring
	}
	return mirror{uri: uri, signedBy: signedBy}
}

func hasWord(s, word string) bool {
	for w := range strings.FieldsSeq(s) {
		if w == word {
			return true
		}
	}
	return false
}

// codename returns VERSION_CODENAME of an os-release(5) file.
func codename(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			return strings.Trim(v, `"`), nil
		}
	}
	return "", fmt.Errorf("%s: no VERSION_CODENAME: not a Debian release", file)
}
