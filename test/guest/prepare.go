// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/debs"
	"github.com/virtiofsd-go/virtiofsd-go/test/guest/proto"
)

// CacheEnv names the environment variable that moves the cache; without it the cache is
// virtiofsd-go in the user's cache directory.
const CacheEnv = "VIRTIOFSD_GO_CACHE"

// kit is everything needed to start guests of one kind. It does not change once made.
type kit struct {
	program string // tree of QEMU or user-mode Linux
	kernel  string // QEMU: the kernel image
	initrd  string // first root: agent, modules, test programs
	image   string // QEMU: ext4 image of root
}

// kits are made once a process and kind. mu guards the map and is held while one is made.
var kits = struct {
	mu   sync.Mutex
	made map[Kind]*kit
}{made: map[Kind]*kit{}}

// Prepare fetches and builds what guests of the given kinds need, and tells say about it. Boot
// does it by itself; doing it beforehand keeps the time out of a test's own.
func Prepare(say func(format string, a ...any), kinds ...Kind) error {
	for _, k := range kinds {
		if _, err := prepare(k, say); err != nil {
			return fmt.Errorf("prepare %s: %w", k, err)
		}
	}
	return nil
}

func prepare(k Kind, say func(string, ...any)) (*kit, error) {
	kits.mu.Lock()
	defer kits.mu.Unlock()
	if kit := kits.made[k]; kit != nil {
		return kit, nil
	}
	m, ok := machines[k]
	if !ok {
		return nil, fmt.Errorf("unknown kind of guest %q", k)
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	unlock, err := lockDir(cache)
	if err != nil {
		return nil, err
	}
	defer unlock()
	kit, err := makeKit(cache, k, m, say)
	if err != nil {
		return nil, err
	}
	kits.made[k] = kit
	return kit, nil
}

func makeKit(cache string, k Kind, m machine, say func(string, ...any)) (*kit, error) {
	root, err := openOnce(cache, rootBundle, say)
	if err != nil {
		return nil, err
	}
	kit := &kit{}
	if kit.program, err = openOnce(cache, m.program, say); err != nil {
		return nil, err
	}
	setup := proto.Setup{RootDev: "none", RootType: "hostfs", RootOpts: root, Channel: "/dev/tty1"}
	modules := kit.program
	if !k.IsUML() {
		setup.RootDev, setup.RootType, setup.RootOpts, setup.Channel = "/dev/vda", "ext4", "", "/dev/ttyS1"
		if modules, err = openOnce(cache, m.kernel, say); err != nil {
			return nil, err
		}
		if kit.kernel, err = kernelImage(modules); err != nil {
			return nil, err
		}
		if kit.image, err = rootImage(cache, root, say); err != nil {
			return nil, err
		}
	}
	kit.initrd, err = buildInitrd(string(k), modules, setup)
	return kit, err
}

// opened remembers the trees that this process has checked; guarded by kits.mu.
var opened = map[string]string{}

// OpenBundle returns the directory of a bundle in the cache of the guests, fetching it if needed.
func OpenBundle(b debs.Bundle, say func(format string, a ...any)) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	unlock, err := lockDir(cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	return debs.Open(cache, b, say)
}

// Trees returns the directories of a kind's QEMU with its libraries and of its kernel with its modules,
// fetching them if needed.
func Trees(k Kind, say func(format string, a ...any)) (qemu, kernel string, err error) {
	m, ok := machines[k]
	if !ok || k.IsUML() {
		return "", "", fmt.Errorf("%q is no kind of guest with a kernel of its own", k)
	}
	if qemu, err = OpenBundle(m.program, say); err == nil {
		kernel, err = OpenBundle(m.kernel, say)
	}
	return qemu, kernel, err
}

func openOnce(cache string, b debs.Bundle, say func(string, ...any)) (string, error) {
	if dir := opened[b.Name]; dir != "" {
		return dir, nil
	}
	dir, err := debs.Open(cache, b, say)
	if err == nil {
		opened[b.Name] = dir
	}
	return dir, err
}

func cacheDir() (string, error) {
	dir := os.Getenv(CacheEnv)
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(base, "virtiofsd-go")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// lockDir keeps other processes out of the cache until the returned function is called.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// guestModules are loaded in all guests; those built into a kernel have no file and are passed over.
var guestModules = []string{"virtio_pci", "virtio_blk", "virtio_console", "fuse", "virtiofs", "overlay"}

// buildInitrd writes the first root of a guest into this process's directory.
func buildInitrd(name, modules string, s proto.Setup) (string, error) {
	bin, err := buildTools()
	if err != nil {
		return "", err
	}
	mods, err := findModules(modules, guestModules)
	if err != nil {
		return "", err
	}
	file := filepath.Join(filepath.Dir(bin), name+".cpio")
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	c := newCpio(f)
	for _, m := range mods {
		p := "modules/" + m.name + ".ko"
		s.Modules = append(s.Modules, "/"+p)
		err = errors.Join(err, c.file(p, 0o644, m.data))
	}
	text, jerr := json.Marshal(s)
	err = errors.Join(err, jerr, c.file("setup.json", 0o644, text), c.copy("init", filepath.Join(bin, "agent")))
	for _, t := range tools {
		err = errors.Join(err, c.copy("tools/"+t.name, filepath.Join(bin, t.name)))
	}
	for _, d := range []string{"dev", "newroot", "proc", "sys"} {
		err = errors.Join(err, c.dir(d))
	}
	return file, errors.Join(err, c.close(), f.Close())
}

// kernelImage finds the kernel in its unpacked packages: Debian 14 keeps it beside the modules.
func kernelImage(tree string) (string, error) {
	var all []string
	for _, pattern := range []string{"boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"} {
		m, err := filepath.Glob(filepath.Join(tree, pattern))
		if err != nil {
			return "", err
		}
		all = append(all, m...)
	}
	if len(all) != 1 {
		return "", fmt.Errorf("%s: %d kernels, not 1", tree, len(all))
	}
	return all[0], nil
}
