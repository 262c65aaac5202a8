// SPDX-License-Identifier: Apache-2.0

// Command manual prints the manual page of the daemon.
package main

import (
	"fmt"
	"os"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

func main() {
	if _, err := fmt.Print(config.Manual()); err != nil {
		fmt.Fprintln(os.Stderr, "manual:", err)
		os.Exit(1)
	}
}
