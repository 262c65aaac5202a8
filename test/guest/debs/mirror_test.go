// SPDX-License-Identifier: Apache-2.0

package debs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFindMirror(t *testing.T) {
	const stanza = "Types: deb\nURIs: http://a.invalid/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
	tests := []struct {
		name, file, text string
		want             mirror
		err              error
	}{
		{"deb822", "sources.list.d/debian.sources", stanza + "Signed-By: /k.gpg\n", mirror{"http://a.invalid/debian", "/k.gpg"}, nil},
		{"deb822 default keyring", "sources.list.d/debian.sources", stanza, mirror{"http://a.invalid/debian", defaultKeyring}, nil},
		{"second stanza", "sources.list.d/x.sources", "Types: deb\nURIs: http://b.invalid\nSuites: nodistro\nComponents: main\n\n# text: more\n" + stanza, mirror{"http://a.invalid/debian", defaultKeyring}, nil},
		{"disabled", "sources.list.d/x.sources", "Enabled: no\n" + stanza, mirror{}, ErrNoMirror},
		{"source packages", "sources.list.d/x.sources", "Types: deb-src\nURIs: http://b.invalid\nSuites: bookworm\nComponents: main\n", mirror{}, ErrNoMirror},
		{"one line", "sources.list", "# deb http://c.invalid bookworm main\ndeb http://a.invalid/debian bookworm main contrib\n", mirror{"http://a.invalid/debian", defaultKeyring}, nil},
		{"one line with options", "sources.list.d/a.list", "deb [arch=amd64 signed-by=/k.gpg] http://a.invalid/debian bookworm main\n", mirror{"http://a.invalid/debian", "/k.gpg"}, nil},
		{"security only", "sources.list", "deb http://a.invalid bookworm-security main\n", mirror{}, ErrNoMirror},
		{"other component", "sources.list", "deb http://a.invalid bookworm contrib\n", mirror{}, ErrNoMirror},
		{"nothing", "sources.list", "", mirror{}, ErrNoMirror},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			etc := t.TempDir()
			if err := os.Mkdir(filepath.Join(etc, "sources.list.d"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(etc, tt.file), []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			m, err := findMirror(etc, "bookworm")
			if m != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
}

func TestCodename(t *testing.T) {
	file := filepath.Join(t.TempDir(), "os-release")
	if err := os.WriteFile(file, []byte("ID=debian\nVERSION_CODENAME=\"bookworm\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := codename(file); c != "bookworm" || err != nil {
		t.Errorf("got %q, %v", c, err)
	}
	if err := os.WriteFile(file, []byte("ID=other\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := codename(file); err == nil {
		t.Errorf("a file without a name gives %q", c)
	}
}
