// SPDX-License-Identifier: Apache-2.0

package xattrmap

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func mustParse(t testing.TB, s string) *Map {
	t.Helper()
	m, err := Parse(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return m
}

// toHost is the host's name, or what the guest is told.
func (m *Map) toHost(name string) string {
	switch prefix, v := m.Client(name); v {
	case Pass:
		return prefix + name
	case Bad:
		return "EPERM"
	default:
		return "ENOTSUP"
	}
}

// The rules of the examples that come with the option, and corners of them.
func TestRules(t *testing.T) {
	const hidden = ""
	for _, tt := range []struct {
		rules          string
		client, server map[string]string
	}{
		{":prefix:all::user.virtiofs.::bad:all:::",
			map[string]string{"user.a": "user.virtiofs.user.a", "security.selinux": "user.virtiofs.security.selinux", "user.virtiofs.x": "user.virtiofs.user.virtiofs.x"},
			map[string]string{"user.virtiofs.user.a": "user.a", "user.a": hidden, "security.selinux": hidden, "user.virtiofs.": hidden}},
		{"/prefix/all/trusted./user.virtiofs./ \n\t/bad/server//trusted./\n/bad/client/user.virtiofs.//\n/ok/all///\n",
			map[string]string{"trusted.a": "user.virtiofs.trusted.a", "user.virtiofs.trusted.a": "EPERM", "user.a": "user.a"},
			map[string]string{"user.virtiofs.trusted.a": "trusted.a", "trusted.a": hidden, "user.a": "user.a"}},
		{"/bad/all/security./security./ /ok/all///",
			map[string]string{"security.selinux": "EPERM", "security": "security", "user.a": "user.a"},
			map[string]string{"security.selinux": hidden, "user.a": "user.a"}},
		{":unsupported:all:security.:security.::ok:all:::",
			map[string]string{"security.capability": "ENOTSUP", "user.a": "user.a"},
			map[string]string{"security.capability": hidden, "user.a": "user.a"}},
		{":prefix:client:trusted.:user.virtiofs.::ok:client:::",
			map[string]string{"trusted.a": "user.virtiofs.trusted.a", "user.a": "user.a"},
			map[string]string{"user.virtiofs.trusted.a": hidden, "user.a": hidden}}, // no rule for the host's
		{":prefix:server::user.virtiofs.::ok:server:::",
			map[string]string{"trusted.a": "EPERM"}, // no rule for the guest's
			map[string]string{"user.virtiofs.trusted.a": "trusted.a", "user.a": "user.a"}},
		{":ok:client:user.a:: :bad:client:user.:: :ok:client:::", // the first that matches
			map[string]string{"user.ab": "user.ab", "user.b": "EPERM", "x": "x"}, nil},
		{":map:security.selinux:trusted.virtiofs.:",
			map[string]string{"security.selinux": "trusted.virtiofs.security.selinux", "trusted.virtiofs.x": "EPERM", "user.a": "user.a"},
			map[string]string{"trusted.virtiofs.security.selinux": "security.selinux", "security.selinux": hidden, "user.a": "user.a"}},
		{"äokäallä\xffäwithä äbadäallääßä", // no text, and a separator of two bytes
			map[string]string{"\xffname": "\xffname", "other": "EPERM"},
			map[string]string{"with\x01\xfe": "with\x01\xfe", "ßx": hidden}},
		{"\xffok\xffall\xff\xff\xff", map[string]string{"a": "a"}, map[string]string{"a": "a"}},
		{":map:::", map[string]string{"a": "a"}, map[string]string{"a": "a"}},
	} {
		m := mustParse(t, tt.rules)
		for name, want := range tt.client {
			if got := m.toHost(name); got != want {
				t.Errorf("%q: the guest's %q becomes %q, want %q", tt.rules, name, got, want)
			}
		}
		for name, want := range tt.server {
			if got := string(m.server([]byte(name))); got != want {
				t.Errorf("%q: the host's %q becomes %q, want %q", tt.rules, name, got, want)
			}
		}
	}
}

func TestMapStandsForRules(t *testing.T) {
	for short, long := range map[string]string{
		":map::user.virtiofs.:":         ":prefix:all::user.virtiofs.::bad:all:::",
		"/map/trusted./user.virtiofs./": "/prefix/all/trusted./user.virtiofs./ /bad/server//trusted./ /bad/client/user.virtiofs.// /ok/all///",
		":ok:all:a:b:|map|c|d|":         ":ok:all:a:b: :prefix:all:c:d: :bad:server::c: :bad:client:d:: :ok:all:::",
	} {
		if a, b := mustParse(t, short), mustParse(t, long); !reflect.DeepEqual(a, b) {
			t.Errorf("%q is %+v, not %+v", short, a, b)
		}
	}
}

func TestList(t *testing.T) {
	m := mustParse(t, "/map/trusted./user.virtiofs./")
	for in, want := range map[string]string{
		"":                                "",
		"user.a\x00":                      "user.a\x00",
		"trusted.a\x00":                   "",
		"user.virtiofs.\x00":              "",
		"\x00\x00":                        "",
		"user.virtiofs.trusted.a\x00b":    "trusted.a\x00b\x00", // as if NUL stood behind b
		"a\x00trusted.x\x00b\x00c\xff":    "a\x00b\x00c\xff\x00",
		"user.virtiofs.z\x00trusted.\x00": "z\x00",
	} {
		space := append([]byte(in), '!') // must not be written over
		if got := string(m.List(space[:len(in)])); got != want || space[len(in)] != '!' {
			t.Errorf("%q becomes %q, want %q; behind it stands %q", in, got, want, space[len(in)])
		}
	}
	var none *Map
	if got := string(none.List([]byte("a\x00"))); got != "a\x00" || none.toHost("x") != "x" {
		t.Errorf("without rules: %q, %q", got, none.toHost("x"))
	}
}

func TestMistakes(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "there is no rule, as :map::user.virtiofs.: is one",
		" \n":                      "there is no rule",
		":":                        `rule 1: there is no ":" behind its type`,
		":ok":                      `rule 1: there is no ":" behind its type`,
		":OK:all:::":               `rule 1: "OK" is not a type of rule: give prefix, ok, bad, unsupported or map`,
		":ok:all::":                `rule 1: there is no ":" behind its prepend`,
		":ok:all:":                 `rule 1: there is no ":" behind its key`,
		":ok:":                     `rule 1: there is no ":" behind its scope`,
		":ok:both:::":              `rule 1: "both" is not a scope: give client, server or all`,
		":map:a:":                  `rule 1: there is no ":" behind its prepend`,
		":ok:all::: /map/a/b":      `rule 2: there is no "/" behind its prepend`,
		":map::a: :ok:all:::":      "rule 1: map stands for all that follows: let it be the last rule",
		":ok:all::::map:::/map///": "rule 2: map stands for all",
		":ok:all:a\x00::":          "rule 1: its key has a NUL byte in it",
	} {
		if _, err := Parse(in); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	m := mustParse(t, "/map/trusted./user.virtiofs./")
	list := []byte("user.virtiofs.trusted.a\x00user.b\x00")
	if n := testing.AllocsPerRun(100, func() {
		m.Client("security.capability")
		m.Client("trusted.a")
		m.List(list)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse: rules are read or refused in one line, and whatever they are, what the host lists is
// a list again, of names that are ends of the host's, not longer than it was.
func FuzzParse(f *testing.F) {
	for _, rules := range []string{":map::user.virtiofs.:", "/map/trusted./user.virtiofs./", ":ok:all:::",
		":bad:server::security.: :unsupported:client:x:: :prefix:all:k:p:", "äokäallääää", "\xffok\xffall\xff\xff\xff"} {
		f.Add(rules, "trusted.a", []byte("user.virtiofs.trusted.a\x00security.x\x00"))
	}
	f.Fuzz(func(t *testing.T, rules, name string, list []byte) {
		m, err := Parse(rules)
		if err != nil {
			if strings.Contains(err.Error(), "\n") && !strings.Contains(rules, "\n") {
				t.Errorf("%q: an error of several lines: %v", rules, err)
			}
			return
		}
		if prefix, v := m.Client(name); v != Pass && prefix != "" {
			t.Errorf("a name that is refused gets the prefix %q", prefix)
		}
		list = append(bytes.TrimRight(list, "\x00"), 0)
		before := bytes.Split(bytes.Clone(list[:len(list)-1]), []byte{0})
		after := m.List(list)
		if len(after) > len(list) || len(after) > 0 && after[len(after)-1] != 0 {
			t.Fatalf("%q is not a list that fits", after)
		}
		for g := range bytes.SplitSeq(bytes.TrimSuffix(after, []byte{0}), []byte{0}) {
			for len(before) > 0 && !(len(g) > 0 && bytes.HasSuffix(before[0], g)) {
				before = before[1:]
			}
			if len(after) > 0 && len(before) == 0 {
				t.Fatalf("%q is not the end of a name that the host listed, in its place", g)
			}
		}
	})
}
