// SPDX-License-Identifier: Apache-2.0

package idmap

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustParse(t testing.TB, rules ...string) *Map {
	t.Helper()
	m, err := Parse(rules)
	if err != nil {
		t.Fatalf("%q: %v", rules, err)
	}
	return m
}

func TestTranslate(t *testing.T) {
	const forbidden = None - 1
	type ids map[uint32]uint32
	for _, tt := range []struct {
		rules           []string
		toHost, toGuest ids
	}{
		{nil, ids{0: 0, 1000: 1000, None: None}, ids{0: 0, None: None}},
		{[]string{"guest:0:100000:65536"},
			ids{0: 100000, 65535: 165535, 65536: 65536, 100000: 100000, None: None}, ids{100000: 100000, 0: 0}},
		{[]string{"host:1000:0:2"}, ids{1000: 1000, 0: 0}, ids{999: 999, 1000: 0, 1001: 1, 1002: 1002, None: None}},
		{[]string{"map:0:1000:1"}, ids{0: 1000, 1000: 1000}, ids{1000: 0, 0: 0}},
		{[]string{"map:0:100000:1000", "map:1000:1000:1", "map:1001:101001:64535"},
			ids{0: 100000, 999: 100999, 1000: 1000, 1001: 101001, 65535: 165535, 65536: 65536},
			ids{100000: 0, 100999: 999, 1000: 1000, 101001: 1001, 165535: 65535, 101000: 101000}},
		{[]string{"squash-guest:0:107:4294967295"}, ids{0: 107, 107: 107, 4294967294: 107, None: None}, ids{107: 107}},
		{[]string{"squash-host:0:0:65536", "squash-guest:0:1000:65536"}, ids{0: 1000, 65535: 1000, 65536: 65536}, ids{65535: 0, 65536: 65536}},
		{[]string{"map:0:1000:1", "forbid-guest:1:4294967295"}, ids{0: 1000, 1: forbidden, 1000: forbidden, 4294967294: forbidden, None: None}, ids{1000: 0, 0: 0}},
		{[]string{"map:0:5:0", "map:0:6:0", "forbid-guest:0:0", "squash-host:0:5:0"}, ids{0: 0}, ids{0: 0, 5: 5}},
		{[]string{"GUEST/5/6/1", "Squash-Host 7 8 9"}, ids{5: 6}, ids{7: 8, 15: 8, 16: 16}},
		{[]string{"guest:4294967294:0:1", "host:0:4294967294:1"}, ids{4294967294: 0}, ids{0: 4294967294}},
	} {
		m := mustParse(t, tt.rules...)
		for id, want := range tt.toHost {
			got, ok := m.ToHost(id)
			if want == forbidden {
				if ok {
					t.Errorf("%q: the guest may use %d as %d", tt.rules, id, got)
				}
			} else if !ok || got != want {
				t.Errorf("%q: the guest's %d is %d, %v; want %d", tt.rules, id, got, ok, want)
			}
		}
		for id, want := range tt.toGuest {
			if got := m.ToGuest(id); got != want {
				t.Errorf("%q: the host's %d is %d, want %d", tt.rules, id, got, want)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    `"": this is no rule, as map:0:100000:65536 is one`,
		"map":                                 `this is no rule`,
		"mop:1:2:3":                           `"mop" is not a type of rule: give guest, host, squash-guest, squash-host, map or forbid-guest`,
		":1:2:3":                              `"" is not a type of rule`,
		"map:1:2":                             `map needs 3 numbers behind it, and there are 2`,
		"forbid-guest:1:2:3":                  `forbid-guest needs 2 numbers behind it, and there are 3`,
		"map:1:2:3:":                          `"" is not a number from 0 to 4294967295`,
		"map:1:2/3":                           `"2/3" is not a number`,
		"map:-1:2:3":                          `"-1" is not a number`,
		"map:0:0:4294967296":                  `"4294967296" is not a number`,
		"guest:4294967295:0:2":                `2 ids from 4294967295 on go beyond the last one, 4294967294`,
		"guest:0:1:4294967295":                `it leads to the id 4294967295, beyond the last one, 4294967294`,
		"squash-guest:0:4294967295:1":         `it leads to the id 4294967295`,
		"map:0:100:10 map:9:200:1":            `"map:0:100:10" and "map:9:200:1" both speak of the guest's id 9: let each id have one rule`,
		"map:0:100:10 map:20:109:1":           `both speak of the host's id 109`,
		"host:0:5:1 host:0:5:1":               `both speak of the host's id 0`,
		"forbid-guest:5:5 squash-guest:0:1:6": `"squash-guest:0:1:6" and "forbid-guest:5:5" both speak of the guest's id 5`,
	} {
		rules := strings.Split(in, " ")
		if _, err := Parse(rules); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func TestParseRanges(t *testing.T) {
	got, err := ParseRanges([]string{":0:1000:1:", "/1/100000/65536/"})
	if err != nil || len(got) != 2 || got[0] != (Range{0, 1000, 1}) || got[1] != (Range{1, 100000, 65536}) {
		t.Errorf("%+v, %v", got, err)
	}
	for in, want := range map[string]string{
		"":                              "this is no range, as :0:100000:65536: is one",
		":":                             "this is no range",
		"0:1000:1":                      "this is no range",
		":0:1000:1":                     "this is no range",
		":0:1000:":                      "it has 2 numbers: give the first id inside, the first outside and the number of ids",
		"::0:1:1:":                      `"" is not a number`,
		":0:1000:0:":                    "it is about 0 ids",
		":0:4294967295:1:":              "it leads to the id 4294967295",
		":4294967295:0:1:":              "it leads to the id 4294967295",
		":0:1000:5: :4:2000:1:":         `":0:1000:5:" and ":4:2000:1:" both speak of the namespace's id 4`,
		":0:1000:5: :10:1004:1:":        "both speak of the host's id 1004",
		strings.Repeat(":0:0:1: ", 341): "342 ranges are given, and Linux takes at most 340",
	} {
		if _, err := ParseRanges(strings.Split(in, " ")); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

// TestAgainstRules compares with a look at each rule in turn, and leads ids that "map" rules speak of
// to the host and back.
func TestAgainstRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var guest, host []entry
		id := rapid.Uint32Range(0, 60)
		draw := rapid.Custom(func(t *rapid.T) span {
			k := rapid.SampledFrom([]kind{shift, squash, forbid}).Draw(t, "kind")
			first := id.Draw(t, "first")
			return span{k, first, first + id.Draw(t, "more"), id.Draw(t, "to")}
		})
		for _, s := range rapid.SliceOfN(draw, 0, 8).Draw(t, "spans") {
			guest = append(guest, entry{s, "guest"})
			if s.kind == shift {
				host = append(host, entry{span{shift, s.to, s.to + (s.last - s.first), s.first}, "host"})
			}
		}
		g, gerr := order(guest, "guest")
		h, herr := order(host, "host")
		if overlap(guest) != (gerr != nil) || overlap(host) != (herr != nil) {
			t.Fatalf("overlaps %v and %v, told as %v and %v", overlap(guest), overlap(host), gerr, herr)
		}
		if gerr != nil || herr != nil {
			return
		}
		m := &Map{g, h}
		for id := range uint32(200) {
			want, allowed, shifted := id, true, false
			for _, e := range guest {
				if e.first <= id && id <= e.last {
					want, allowed = e.apply(id)
					shifted = e.kind == shift
				}
			}
			got, ok := m.ToHost(id)
			if got != want || ok != allowed {
				t.Fatalf("%d becomes %d, %v; want %d, %v", id, got, ok, want, allowed)
			}
			if back := m.ToGuest(got); shifted && back != id {
				t.Fatalf("%d becomes %d and back %d", id, got, back)
			}
		}
	})
}

func overlap(all []entry) bool {
	for i, a := range all {
		for _, b := range all[:i] {
			if a.first <= b.last && b.first <= a.last {
				return true
			}
		}
	}
	return false
}

func TestNoAllocation(t *testing.T) {
	m := mustParse(t, "map:0:100000:1000", "map:1000:1000:1", "forbid-guest:2000:5")
	if n := testing.AllocsPerRun(100, func() { m.ToHost(1000); m.ToHost(2001); m.ToGuest(100003) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse: rules are read or refused in one line; what is read translates every id at a rule's edge,
// and gives None for None only.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"map:0:100000:65536", "guest:0:1:2\nhost:4:5:6", "squash-guest:0:107:4294967295\nsquash-host:107:0:1",
		"forbid-guest:1:4294967295", ":0:1000:1:\n:1:100000:65536:", "map\xff1\xff2\xff3", "mapä1ä2ä3", "map:1:2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		values := strings.Split(s, "\n")
		if _, err := ParseRanges(values); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of several lines: %q", err)
		}
		m, err := Parse(values)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		for _, all := range []spans{m.guest, m.host} {
			for _, sp := range all {
				for _, id := range []uint32{sp.first - 1, sp.first, sp.last, sp.last + 1, None} {
					if host, _ := m.ToHost(id); (host == None) != (id == None) {
						t.Errorf("the guest's %d becomes %d", id, host)
					}
					if g := m.ToGuest(id); (g == None) != (id == None) {
						t.Errorf("the host's %d becomes %d", id, g)
					}
				}
			}
		}
	})
}

func BenchmarkToGuest(b *testing.B) {
	m := mustParse(b, "map:0:100000:1000", "map:1000:1000:1", "map:1001:101001:64535")
	for b.Loop() {
		m.ToGuest(101500)
	}
}
