// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// before are the folders whose calls come before the filter, or never in the daemon.
var before = []string{"cmd", "test", "internal/capabilities", "internal/config", "internal/landlock", "internal/lint",
	"internal/sandbox", "internal/seccomp", "internal/sockdiag"}

// callsOf are the system calls of the functions of x/sys and syscall that the daemon uses.
// "" stands for none; "before" for one that comes before the filter. With "|", one of them, by machine.
var callsOf = map[string]string{
	"Bind": "before", "CloseOnExec": "before", "Faccessat": "before", "Listen": "before", "Setgroups": "before", "Setresgid": "before", "Setresuid": "before", "Setrlimit": "before",
	"Socket": "before", "Stat": "before",
	"ByteSliceToString": "", "CmsgSpace": "", "ErrnoName": "", "Errno": "", "Getpagesize": "", "Major": "", "Minor": "", "Mkdev": "",
	"NsecToTimespec": "", "ParseSocketControlMessage": "", "ParseUnixRights": "", "SignalName": "", "UnixRights": "",
	"Close": "CLOSE", "CopyFileRange": "COPY_FILE_RANGE", "EpollCreate1": "EPOLL_CREATE1", "EpollCtl": "EPOLL_CTL",
	"EpollWait": "EPOLL_PWAIT", "Eventfd": "EVENTFD2", "Fallocate": "FALLOCATE", "FcntlFlock": "FCNTL", "FcntlInt": "FCNTL",
	"Fdatasync": "FDATASYNC", "Flock": "FLOCK", "Fstat": "FSTAT", "Fstatfs": "FSTATFS", "Fsync": "FSYNC", "Ftruncate": "FTRUNCATE",
	"Getpid": "GETPID", "Getrlimit": "GETRLIMIT|PRLIMIT64", "GetsockoptInt": "GETSOCKOPT", "GetsockoptUcred": "GETSOCKOPT", "Gettid": "GETTID",
	"IoctlGetInt": "IOCTL", "Madvise": "MADVISE", "MemfdCreate": "MEMFD_CREATE", "Mmap": "MMAP", "Munmap": "MUNMAP", "Open": "OPENAT",
	"Poll": "PPOLL", "Read": "READ", "Readlinkat": "READLINKAT", "Recvfrom": "RECVFROM", "Seek": "LSEEK", "Send": "SENDTO",
	"Symlinkat": "SYMLINKAT", "Sysinfo": "SYSINFO", "Umask": "UMASK", "Write": "WRITE",
}

// byLibrary are calls of the list that only the standard library makes, and where.
var byLibrary = map[string]string{
	"ACCEPT4": "net", "GETSOCKNAME": "net", "GETPEERNAME": "net", "RECVMSG": "net", "SENDMSG": "net", "SHUTDOWN": "net",
	"GETEUID": "os", "GETEGID": "os", "GETGROUPS": "os", "NEWFSTATAT": "os",
	"CLONE": "runtime", "CLONE3": "glibc", "PRCTL": "runtime", "TGKILL": "runtime",
	"PRLIMIT64": "x/sys, on arm64",
}

var callNumber = regexp.MustCompile(`^SYS_([A-Z0-9_]+)$`)

// TestListIsWhatIsUsed: the list has every call that the daemon's code makes by itself, and no others but
// those of libraries.
func TestListIsWhatIsUsed(t *testing.T) {
	listed := map[string]bool{}
	for _, file := range []string{"list.go", "machine_amd64.go", "machine_arm64.go"} {
		for _, name := range selected(t, file) {
			if m := callNumber.FindStringSubmatch(name); m != nil {
				listed[m[1]] = true
			}
		}
	}
	used := map[string]bool{}
	for name, where := range usedNames(t) {
		if m := callNumber.FindStringSubmatch(name); m != nil {
			used[m[1]] = true
			if !listed[m[1]] {
				t.Errorf("%s makes the call %s, which is not in the list", where, m[1])
			}
			continue
		}
		calls, known := callsOf[name]
		if !known {
			t.Errorf("%s uses the function %s: say in callsOf which call it makes", where, name)
		}
		if calls == "before" || calls == "" {
			continue
		}
		for c := range strings.SplitSeq(calls, "|") {
			used[c] = true
			if !listed[c] {
				t.Errorf("%s makes the call %s by %s, which is not in the list", where, c, name)
			}
		}
	}
	runtime := runtimeCalls(t)
	for call := range listed {
		if _, library := byLibrary[call]; !used[call] && !library && !slices.Contains(runtime, call) {
			t.Errorf("the call %s is in the list, and nothing uses it", call)
		}
	}
}

// runtimeCalls are the names in goRuntime.
func runtimeCalls(t *testing.T) (names []string) {
	ast.Inspect(parse(t, "list.go"), func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && v.Names[0].Name == "goRuntime" {
			for _, name := range selectors(v) {
				names = append(names, strings.TrimPrefix(name, "SYS_"))
			}
		}
		return true
	})
	if len(names) < 10 {
		t.Fatalf("goRuntime has %q", names)
	}
	return names
}

// usedNames are the functions and SYS_ numbers of x/sys and syscall that the daemon uses, with a file each.
func usedNames(t *testing.T) map[string]string {
	names := map[string]string{}
	const root = "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (slices.Contains(before, rel) || strings.HasPrefix(d.Name(), ".") && rel != ".") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		for _, name := range selected(t, path) {
			names[name] = rel
		}
		return nil
	})
	if err != nil || len(names) < 50 {
		t.Fatalf("%d names, %v", len(names), err)
	}
	for _, name := range []string{"Syscall", "Syscall6", "RawSyscall", "RawSyscall6"} {
		delete(names, name) // the number beside it counts
	}
	return names
}

func parse(t *testing.T, path string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// selected are the functions that a file calls, and SYS_ numbers that it names, of x/sys and syscall.
func selected(t *testing.T, path string) []string {
	t.Helper()
	return selectors(parse(t, path))
}

func selectors(root ast.Node) (names []string) {
	called := map[ast.Expr]bool{}
	ast.Inspect(root, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			called[c.Fun] = true
		}
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := s.X.(*ast.Ident); ok && (pkg.Name == "unix" || pkg.Name == "syscall") &&
			(called[s] || callNumber.MatchString(s.Sel.Name)) {
			names = append(names, s.Sel.Name)
		}
		return true
	})
	return names
}
