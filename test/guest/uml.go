// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"path/filepath"
)

// virtioIDFS is the device number of a file system device (VIRTIO_ID_FS, virtio 1.2 section 5).
const virtioIDFS = 26

// umlArgs returns the command that runs user-mode Linux with spec's devices. Descriptor 3 is the
// agent's line. The kernel learns a device's tag from the daemon, which must be told it.
func umlArgs(k *kit, s Spec, dir string) ([]string, error) {
	args := foreignProgram(k.program, "bin/linux.uml")
	args = append(args, fmt.Sprintf("mem=%dM", s.Mem), "initrd="+k.initrd,
		"con=null", "con0=null,fd:1", "con1=fd:3", "ssl=null",
		"uml_dir="+dir, "umid=guest", "loglevel=5", "panic=0")
	for _, sh := range s.Shares {
		socket, err := filepath.Abs(sh.Socket)
		if err != nil {
			return nil, err
		}
		args = append(args, fmt.Sprintf("virtio_uml.device=%s:%d", socket, virtioIDFS))
	}
	return append(args, s.Args...), nil
}
