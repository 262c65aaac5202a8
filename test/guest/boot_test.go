// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"testing"
	"time"
)

func TestBoot(t *testing.T) {
	for _, k := range []Kind{QEMU72, QEMU10, UML61} {
		t.Run(string(k), func(t *testing.T) {
			if err := Prepare(t.Logf, k); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			g, err := Start(Spec{Kind: k}, t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			t.Logf("booted in %v", time.Since(start))
			start = time.Now()
			out, code, err := g.Do("uname -a; id; df; time seq 100 | tail -1; ls /tools; git --version", time.Minute)
			t.Logf("%v: %d %v\n%s", time.Since(start), code, err, out)
			t.Log(g.Console())
		})
	}
}
