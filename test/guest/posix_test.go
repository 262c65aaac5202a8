// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"regexp"
	"time"
)

// posixExcuses are the cases of posixtest that may fail or skip themselves in a guest, with the
// reason why.
var posixExcuses = map[string]string{
	"XAttrLarge": "the host's ext4 keeps all attributes of a file in one block, so 64 KiB do not fit",
}

// minPosix is the least number of cases that must run: a suite that ran nothing has not passed.
const minPosix = 28

var posixResult = regexp.MustCompile(`(?m)^\s+--- (PASS|FAIL|SKIP): TestPosix/(\w+) `)

// checkPosix runs go-fuse's posixtest suite in the guest.
func checkPosix(b *box, sh share, _ int) {
	out, _ := b.run(10*time.Minute, "mkdir %[1]s/posix && /tools/posixtest -test.v -dir=%[1]s/posix", sh.guest)
	results := posixResult.FindAllStringSubmatch(out, -1)
	if len(results) < minPosix {
		b.t.Fatalf("only %d cases of posixtest have run:\n%s", len(results), out)
	}
	for _, r := range results {
		verdict, name := r[1], r[2]
		if verdict == "PASS" {
			continue
		}
		if reason := posixExcuses[name]; reason != "" {
			b.t.Logf("%s: %s, excused: %s", name, verdict, reason)
			continue
		}
		b.t.Errorf("%s: %s", name, verdict)
	}
	if b.t.Failed() {
		b.t.Log(out)
	}
}
