// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"net"
	"os"
	"strconv"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// maxHanded bounds the sockets that are taken from a service manager; each share needs one.
const maxHanded = 1024

// HandedSockets returns the names of the sockets that the service manager has handed over, the first
// of which is file descriptor 3 (sd_listen_fds(3)). It takes them off the environment, so a second
// call returns none.
func HandedSockets() []string {
	pid, n, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	count, err := strconv.Atoi(n)
	if pid != strconv.Itoa(os.Getpid()) || err != nil || count < 1 {
		return nil
	}
	handed := make([]string, min(count, maxHanded))
	given := strings.Split(names, ":")
	for i := range handed {
		handed[i] = "unknown" // as sd_listen_fds_with_names(3) calls it
		if i < len(given) && given[i] != "" {
			handed[i] = given[i]
		}
		unix.CloseOnExec(3 + i)
	}
	return handed
}

// notify tells the service manager the state of the process (sd_notify(3)), such as "READY=1". If
// nobody wants to know, it does nothing.
func notify(state string, log *zap.Logger) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // "@" is the abstract name space
	if err == nil {
		_, err = c.Write([]byte(state))
		c.Close()
	}
	if err != nil {
		log.Warn("The service manager cannot be told the state", zap.String("state", state), zap.Error(err))
	}
}
