// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sqlWriters lets several processes write to one database at once and checks the outcome. Its
// arguments are the database, pragmas for each connection and the number of processes.
const sqlWriters = `
db=%s; pragmas="%s"
sqlite3 $db "$pragmas CREATE TABLE t(w INTEGER, n INTEGER, s TEXT);" > /dev/null
for w in $(seq %d); do
	for i in 1 2 3 4 5; do
		echo "PRAGMA busy_timeout=120000; $pragmas BEGIN IMMEDIATE;
		WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<200)
		INSERT INTO t SELECT $w, n, hex(randomblob(50)) FROM c; COMMIT;" | sqlite3 -bail $db > /dev/null
	done &
	pids="$pids $!"
done
for p in $pids; do wait $p; done
sqlite3 $db "$pragmas SELECT count(*), count(DISTINCT w) FROM t; PRAGMA integrity_check; PRAGMA journal_mode;"`

// checkSql runs writers and compares the last lines of what the check prints.
func checkSql(b *box, sh share, name, pragmas, mode string, writers int) {
	b.t.Helper()
	out := b.mustFor(workTime, sqlWriters, sh.guest+"/"+name, pragmas, writers)
	want := fmt.Sprintf("%d|%d\nok\n%s\n", writers*1000, writers, mode)
	if !strings.HasSuffix(out, want) {
		b.t.Errorf("%s: got\n%swant\n%s", name, out, want)
	}
	head := make([]byte, 16)
	f, err := os.Open(filepath.Join(sh.host, name))
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(head); err != nil || string(head) != "SQLite format 3\x00" {
		b.t.Errorf("%s: the host sees no database: %q, %v", name, head, err)
	}
}

// checkSqlite has three writers at once, with a rollback journal and with a write-ahead log,
// whose index is shared memory in a file of the share.
func checkSqlite(b *box, sh share, _ int) {
	checkSql(b, sh, "rollback.db", "PRAGMA journal_mode=DELETE;", "delete", 3)
	checkSql(b, sh, "wal.db", "PRAGMA journal_mode=WAL;", "wal", 3)
}

// checkSqliteNever does what --cache=never can: without pages in the guest there is no shared
// mapping, so a write-ahead log works for one process that keeps its index in its own memory, and
// the ordinary one fails in order, leaving a sound database.
func checkSqliteNever(b *box, sh share, _ int) {
	checkSql(b, sh, "rollback.db", "PRAGMA journal_mode=DELETE;", "delete", 3)
	checkSql(b, sh, "exclusive.db", "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL;", "wal", 1)
	db := sh.guest + "/plain.db"
	b.must("sqlite3 %s 'CREATE TABLE t(n); INSERT INTO t VALUES(1);'", db)
	out, code := b.run(commandTime, "sqlite3 -bail %s 'PRAGMA journal_mode=WAL; INSERT INTO t VALUES(2);'", db)
	if code == 0 {
		b.t.Errorf("a shared write-ahead log works without shared mappings: %s", out)
	}
	// The file says "write-ahead log" now, so it takes exclusive locking to look into it.
	out = b.must("sqlite3 %s 'PRAGMA locking_mode=EXCLUSIVE; PRAGMA integrity_check; SELECT n FROM t;'", db)
	if out != "exclusive\nok\n1\n" {
		b.t.Errorf("the database afterwards: %q", out)
	}
}

// TestSqlScript keeps the script free of formatting mistakes.
func TestSqlScript(t *testing.T) {
	if s := fmt.Sprintf(sqlWriters, "a", "b", 1); strings.Contains(s, "%!") {
		t.Error(s)
	}
}
