// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// checkNetwork makes sure that the process is in a network namespace of its own: no interface is up. Beside
// lo there may be others that are down, as modules for tunnels make theirs in every namespace (sysctl
// net.core.fb_tunnels_only_for_init_net).
func checkNetwork() error {
	r := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	links, err := r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return fmt.Errorf("the sandbox cannot be made: its network interfaces cannot be looked at: %w", err)
	}
	for _, m := range links {
		if len(m) < unix.SizeofIfInfomsg {
			return fmt.Errorf("the sandbox cannot be made: a network interface is described by %d bytes", len(m))
		}
		if i := nl.DeserializeIfInfomsg(m); i.Flags&unix.IFF_UP != 0 {
			return fmt.Errorf("the sandbox cannot be made: network interface %d is up in it: it is not the empty network that was asked for", i.Index)
		}
	}
	return nil
}
