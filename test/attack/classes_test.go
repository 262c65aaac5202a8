// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// classes are the holes that programs of this kind have had, and the tests that show that this one does
// not: folder and function. Where a number is that of one hole, the class is wider.
var classes = []struct {
	hole  string
	tests string
}{
	// virtiofsd and its launchers.
	{"CVE-2020-10717: a guest opens files until the host has no more", "fusecore/hostfs.TestHandleLimit fusecore/hostfs.TestOutOfFDs cmd/virtiofsd-go.TestFewOpenFiles"},
	{"CVE-2020-35517: the daemon opens a device that the guest has made", "test/conformance.TestSpecialFiles fusecore/hostfs.TestMknod"},
	{"CVE-2021-20263: a renamed security.capability survives a write", "fusecore/hostfs.TestKillRenamedCapabilities test/guest.TestKillPrivs"},
	{"CVE-2022-0358: supplementary groups are kept", "fusecore/hostfs.TestCallersGroups internal/creds.TestGroups test/conformance.TestGroupsInRequests"},
	{"lookup counts of the guest are trusted", "test/conformance.TestForget fusecore/hostfs.TestUnknownNodes fusecore.TestBatchForgetIsBounded"},
	{"CVE-2020-13759, CVE-2023-41051, CVE-2023-50711: guest memory out of bounds", "virtqueue/guestmem.TestSlice virtqueue/guestmem.TestRefusedRegions virtqueue.FuzzChain"},
	{"CVE-2026-47243: a name leads outside", "test/attack.TestNamesInEverySandbox test/conformance.TestOutlawNames fusecore/hostfs.TestRawNames"},
	{"a truncated extension, or a name that is not UTF-8, ends the daemon", "test/conformance.TestExtensions test/conformance.TestLabelsInRequests test/conformance.TestXAttrsOfAnyBytes test/conformance.TestFramesCutAnywhere"},
	{"CVE-2026-44210: what a user adds to the command line widens it", "internal/config.TestLocked internal/config.TestNothingWidensWhatIsLocked"},
	{"numbers of nodes and handles are made up", "test/attack.TestForgedNumbers fusecore/hostfs.TestUnknownNodes"},
	{"sizes of attributes are trusted", "fusecore.TestSetxattr fusecore.TestXattrTooLong"},
	{"operations that were not negotiated", "vhostuser.TestNotNegotiated test/conformance.TestACLsNeedTheGuest"},
	{"CVE-2017-7471, CVE-2026-39822: links and races lead a path walk outside", "test/attack.TestSwaps test/attack.TestMovedOutOfShare test/conformance.TestLinksAreNotFollowed test/conformance.TestDirectoryMovedOut fusecore/hostfs.TestLinksAreNotFollowed fusecore/hostfs.TestMovedOutside"},

	// vhost-user back-ends.
	{"CVE-2018-1059: what is contiguous for the guest is not for the daemon", "virtqueue.TestChains virtqueue/guestmem.TestAppendAndRead"},
	{"CVE-2019-14818, CVE-2020-10722 to -10726: fds of repeated messages, overflows, unchecked queue numbers", "test/attack.TestFDFloods test/conformance.TestRepeatedFDs vhostuser.TestSurplusFDs vhostuser.TestManyFDs test/conformance.TestRingNumbers test/conformance.TestBadMemory"},
	{"CVE-2019-14835: the dirty log is shorter than what is marked", "test/attack.TestTinyLog virtqueue/guestmem.TestMarkDirty virtqueue/guestmem.TestLogRefused"},
	{"CVE-2026-93683: a table is read twice", "test/conformance.TestChangingChains test/attack.TestMemoryInMotion virtqueue.FuzzChain"},
	{"CVE-2026-86846, CVE-2026-86848: the available index jumps", "test/conformance.TestBrokenRing virtqueue.TestBrokenRings"},
	{"CVE-2026-86565: queue size and requests in flight", "virtqueue.TestRefusedRings test/conformance.TestRingNumbers vhostuser.TestRestartWithoutStop"},
	{"CVE-2026-45782: two chains share a head", "test/conformance.TestHeadInFlightTwice virtqueue.TestSameHeadTwice"},
	{"CVE-2016-6490: a loop of empty descriptors", "test/conformance.TestBadChains virtqueue.TestChains"},
	{"out of bounds by an indirect table", "test/conformance.TestBadChains test/conformance.TestOddChains virtqueue.FuzzChain"},
	{"rings that lie over each other", "test/attack.TestRingsOverEachOther"},
	{"a driver that lies about events", "test/attack.TestEventIndexLies virtqueue.TestNotifications"},
	{"messages cut, of wrong sizes, replies that nobody asked for", "test/conformance.TestMessageSizes test/conformance.TestMessageHeaders test/conformance.TestMessagesInPieces vhostuser.TestFramingErrors vhostuser.TestTruncated"},
	{"a VMM that does not listen", "test/attack.TestDeafVMM vhostuser.TestDeafPeer"},
	{"memory that is taken away", "test/attack.TestMemoryMoves test/conformance.TestTruncatedMemory test/conformance.TestTruncatedMemoryInFlight test/conformance.TestMemoryBeyondFile virtqueue/guestmem.TestTruncatedLog"},
	{"memory in files whose pages the VMM serves, or does not", "test/attack.TestTrappedMemory"},
	{"one VMM takes the address space or the mappings of all", "test/attack.TestAddressSpaceHoard test/attack.TestMappingHoard virtqueue/guestmem.TestLimits"},
	{"resets without end", "test/attack.TestResetsInLoops"},
	{"fds of odd kinds", "test/attack.TestOddFDs virtqueue.TestKickKinds virtqueue.TestCallKinds virtqueue/guestmem.TestRefusedFiles"},
	{"one guest takes all of the time", "test/attack.TestBusyRings test/attack.TestEverythingWaits"},

	// Measured in the Rust virtiofsd 1.14.0.
	{"a malformed request ends the daemon", "test/conformance.TestFramesCutAnywhere test/conformance.TestReplyRoom test/conformance.TestHeaderLength test/conformance.TestFramesWithBadNames test/conformance.FuzzRequests"},
	{"names are not checked", "test/conformance.TestOutlawNames"},
	{"a group stays with a thread", "test/attack.TestIdsDoNotLeak fusecore/hostfs.TestCallersGroups fusecore/hostfs.TestOwners"},
	{"--writeback: what was created to be written cannot be read", "fusecore/hostfs.TestWritebackReads"},
	{"O_DIRECT reaches the host by CREATE", "cmd/virtiofsd-go.TestOptionsInOpen"},
	{"lengths of descriptors count as sizes of reads and writes", "test/conformance.TestDataSizes fusecore.TestReadIsBounded"},
	{"FORGET of the root", "test/conformance.TestForget"},
	{"COPY_FILE_RANGE's result is cut to 32 bits", "test/conformance.TestCopyFileRange"},
	{"forbidden ids are reported as EIO", "fusecore/hostfs.TestCallersGroups"},

	// Other bugs of note.
	{"hangs after a pause, lost kicks, a wrong used index", "test/conformance.TestStopWaitsForRequestsInFlight virtqueue.TestNoKickIsLost vhostuser.TestPositionSurvives test/conformance.TestOrders"},
	{"a panic at the limit of open files", "fusecore/hostfs.TestOutOfFDs vhostuser.TestLostFDs"},
	{"guest memory that is not shared", "cmd/virtiofsd-go.TestPrivateGuestMemory"},
}

// TestClasses: the tests that are named above exist.
func TestClasses(t *testing.T) {
	for _, c := range classes {
		if len(strings.Fields(c.tests)) == 0 {
			t.Errorf("%s: no test", c.hole)
		}
		for _, name := range strings.Fields(c.tests) {
			folder, fn, _ := strings.Cut(name, ".")
			if !hasTest(t, folder, fn) {
				t.Errorf("%s: there is no %s in %s", c.hole, fn, folder)
			}
		}
	}
	if hasTest(t, "test/attack", "TestThatDoesNotExist") {
		t.Error("this test finds what is not there")
	}
}

func hasTest(t *testing.T, folder, fn string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	decl := regexp.MustCompile(`(?m)^func ` + fn + `\((t \*testing\.T|f \*testing\.F)\) \{`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if decl.Match(b) {
			return true
		}
	}
	return false
}
