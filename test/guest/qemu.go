// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
)

// AccelEnv names the environment variable that asks for another accelerator than TCG, e.g. kvm.
// Nothing is chosen by whether /dev/kvm is there: in a nested machine it may be, and guests die
// in it.
const AccelEnv = "VIRTIOFSD_GO_ACCEL"

// kernelLine is the kernel's command line. tsc and the like are left alone: a guest should be
// an ordinary one, but for no_timer_check: on a busy host an emulated timer may not tick while the
// kernel tests it, and then it panics. Console output is slow, so only warnings and worse are
// printed.
const kernelLine = "console=ttyS0 loglevel=5 mitigations=off panic=0 random.trust_cpu=on no_timer_check"

// qemuArgs returns the command that runs QEMU with spec's devices. Descriptor 3 is the agent's
// line and 4 the monitor.
func qemuArgs(k *kit, s Spec) []string {
	accel := os.Getenv(AccelEnv)
	if accel == "" {
		accel = "tcg,thread=multi"
	}
	args := foreignProgram(k.program, "bin/qemu-system-x86_64")
	add := func(a ...string) { args = append(args, a...) }
	add("-nodefaults", "-no-user-config", "-display", "none", "-accel", accel,
		"-machine", "pc,memory-backend=ram,vmport=off", "-smp", fmt.Sprint(s.CPUs),
		"-m", fmt.Sprintf("%dM,slots=4,maxmem=%dM", s.Mem, s.Mem+4096),
		"-object", fmt.Sprintf("memory-backend-memfd,id=ram,size=%dM,share=on", s.Mem),
		"-kernel", k.kernel, "-initrd", k.initrd, "-append", kernelLine,
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-chardev", "socket,id=agent,fd=3", "-serial", "chardev:agent",
		"-chardev", "socket,id=monitor,fd=4", "-mon", "chardev=monitor,mode=control",
		"-blockdev", "driver=file,node-name=root,read-only=on,locking=off,filename="+k.image,
		"-device", "virtio-blk-pci,drive=root,romfile=")
	for i, sh := range s.Shares {
		add("-chardev", fmt.Sprintf("socket,id=c%d,path=%s", i, sh.Socket),
			"-device", fmt.Sprintf("vhost-user-fs-pci,id=fs%d,chardev=c%d,tag=%s,num-request-queues=%d",
				i, i, sh.Tag, max(1, sh.Queues)))
	}
	return append(args, s.Args...)
}
