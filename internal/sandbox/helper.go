// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
)

// helped are maps that we may not write ourselves. newuidmap(1) and newgidmap(1) may, for the ids that
// /etc/subuid and /etc/subgid give to our user.
type helped struct{ uids, gids []idmap.Range }

func (h helped) any() bool { return len(h.uids)+len(h.gids) > 0 }

// mapIDs writes the maps of a worker that waits for it.
func (w *Worker) mapIDs(h helped) error {
	if err := runHelper("newuidmap", "/etc/subuid", w.proc.Pid, h.uids); err != nil {
		return err
	}
	if err := runHelper("newgidmap", "/etc/subgid", w.proc.Pid, h.gids); err != nil {
		return err
	}
	return w.send([]byte{goOn})
}

func runHelper(name, file string, pid int, ranges []idmap.Range) error {
	if len(ranges) == 0 {
		return nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%s is missing, which ranges of ids in --uid-map and --gid-map need: install the package uidmap (or shadow-utils)", name)
	}
	args := []string{strconv.Itoa(pid)}
	for _, r := range ranges {
		for _, n := range []uint32{r.Inside, r.Outside, r.Count} {
			args = append(args, strconv.FormatUint(uint64(n), 10))
		}
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s refuses the ids, which %s has to give to this user: %s (%w)", name, file, strings.Join(strings.Fields(string(out)), " "), err)
	}
	return nil
}
