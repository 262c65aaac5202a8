// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/fileio"
)

// programs are what commands in a guest call, by the first argument.
var programs = map[string]func() error{
	"reboot": func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) },
	"lock":   lockMain,
	"io":     ioMain,
	"watch":  watchMain,
	"follow": followMain,
}

func ioMain() error {
	if len(os.Args) < 3 {
		return errors.New("usage: agent io FILE STEP, and further steps")
	}
	return fileio.Run(os.Stdout, os.Args[2], os.Args[3:]...)
}

func watchMain() error {
	if len(os.Args) != 5 {
		return errors.New("usage: agent watch FILE STOP FORBIDDEN")
	}
	forbidden, err := strconv.ParseUint(os.Args[4], 0, 16)
	if err != nil {
		return err
	}
	return fileio.Watch(os.Stdout, os.Args[2], os.Args[3], uint16(forbidden))
}

func followMain() error {
	if len(os.Args) != 4 {
		return errors.New("usage: agent follow FILE STOP")
	}
	return fileio.Follow(os.Stdout, os.Args[2], os.Args[3])
}
