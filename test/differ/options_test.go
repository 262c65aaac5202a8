// SPDX-License-Identifier: Apache-2.0

package differ

import "strings"

// optionSet is a part of a command line. Words that begin with # choose scenes, and are not given to daemons;
// without one of groups, the scenes of all groups play.
type optionSet string

// groups are the words for scenes by what they are about. "#none" is for none of them.
var groups = []string{"#attrs", "#names", "#data", "#dirs", "#xattrs", "#more", "#none"}

// optionSets are the options under which the daemons are compared: each by itself, and the pairs of which
// one changes what the other does.
var optionSets = []optionSet{
	"#malformed",
	"--cache=never",
	"--cache=metadata #attrs #names #data #dirs",
	"--cache=always #attrs #names #data #dirs",
	"--cache=never --allow-mmap #data",
	"--cache=metadata --allow-mmap --allow-direct-io #data",
	"--cache=never --allow-direct-io --xattr #data #xattrs",

	"--writeback #attrs #names #data",
	"--writeback --cache=always --allow-direct-io #data",
	"--writeback --cache=never #data",
	"--writeback --cache=metadata --allow-mmap --allow-direct-io #data",
	"--writeback --readonly #data",
	"--writeback --killpriv-v2 --xattr #attrs #data #xattrs",
	"--writeback --killpriv-v2 --cache=always --allow-direct-io #attrs #data",
	"--writeback --posix-acl #data #xattrs",

	"--allow-direct-io #names #data",
	"--allow-direct-io --readonly #data",
	"--preserve-noatime #names #data",
	"--preserve-noatime --readonly --allow-direct-io #names #data",
	"--no-readdirplus --cache=always #dirs",
	"--no-readdirplus --no-announce-submounts #dirs",
	"--readonly",
	"--readonly --posix-acl #xattrs",

	"--xattr #attrs #data #xattrs",
	"--posix-acl #attrs #names #xattrs",
	"--posix-acl=auto --cache=always #names #xattrs",
	"--posix-acl --killpriv-v2 #data #xattrs",
	"--posix-acl --xattrmap=:map::user.virtiofs.: #names #xattrmap #xattrs",
	"--posix-acl --xattrmap=/map/trusted./user.virtiofs./ --cache=never #names #xattrmap #xattrs",
	"--killpriv-v2 #attrs #names #data",
	"--killpriv-v2 --xattr --cache=never #attrs #data #xattrs",
	"--killpriv-v2 --xattrmap=:map:security.capability:user.virtiofs.: #attrs #data #xattrs",

	"--no-announce-submounts #dirs",
	"--no-announce-submounts --inode-file-handles=never #dirs",
	"--inode-file-handles=never #attrs #names #dirs #more",
	"--inode-file-handles=never --cache=never #names #more",
	"--inode-file-handles=mandatory --cache=always #names #more",
	"--inode-file-handles=prefer --xattr #xattrs #more",
	"--thread-pool-size=4 #names #more",

	"--xattrmap=:map::user.virtiofs.: #xattrmap #xattrs",
	"--xattrmap=/map/trusted./user.virtiofs./ #xattrmap #xattrs",
	"--xattrmap=:bad:all:security.:security.:_:unsupported:all:trusted.:trusted.:_:ok:all::: #xattrmap #xattrs",
	"--xattrmap=:prefix:client:trusted.:user.virtiofs.:_:ok:client:user.::_:bad:all::: #xattrmap #xattrs",
	"--security-label --xattrmap=:map:security.selinux:user.virtiofs.: #none #label #malformed-label",
	"--security-label=auto --posix-acl --xattrmap=:map:security.selinux:user.virtiofs.: #none #label #acl-label",

	"--translate-uid=map:0:100000:1000 --translate-gid=map:0:100000:1000 --translate-uid=forbid-guest:1000:1000 #ids #attrs #names",
	"--translate-uid=squash-guest:0:1000:4294967295 --translate-uid=host:1000:0:1 --translate-gid=squash-guest:0:1000:4294967295 #ids #attrs #names",
	"--translate-uid=guest:5:50:10 --translate-uid=host:1000:7:1 --translate-gid=squash-host:0:9:2000 --xattr #ids #attrs #names",
	"--translate-uid=map:0:100000:1000 --readonly #ids #attrs #names",
}

// args are the words for a daemon. What keeps a daemon from the host is off in both: it is not what is
// compared here. A "_" stands for a space.
func (o optionSet) args() []string {
	args := []string{"--sandbox=none", "--seccomp=none"}
	for _, w := range strings.Fields(string(o)) {
		if !strings.HasPrefix(w, "#") {
			args = append(args, strings.ReplaceAll(w, ":_:", ": :"))
		}
	}
	return args
}

func (o optionSet) String() string { return string(o) }

// has tells whether all words are among the set's, and none that has a "!" in front. A word may be the
// beginning of an option.
func (o optionSet) has(words string) bool {
	for w := range strings.FieldsSeq(words) {
		w, not := strings.CutPrefix(w, "!")
		found := false
		for _, have := range strings.Fields(string(o)) {
			found = found || strings.HasPrefix(have, w)
		}
		if found == not {
			return false
		}
	}
	return true
}
