// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/debs"
)

// imageSize is the size of the guests' root file system: it takes the tree with room to spare.
const imageSize = "512M"

// rootImage returns an ext4 image of the tree root. It is made again when it is missing, damaged
// or of another tree: a file beside it holds the hashes of both.
func rootImage(cache, root string, say func(string, ...any)) (string, error) {
	image := filepath.Join(cache, "root.ext4")
	sums := image + ".sha256"
	want, err := imageSums(root, image)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if got, rerr := os.ReadFile(sums); err == nil && rerr == nil && string(got) == want {
		return image, nil
	}
	say("making a disk image of the guests' root")
	for _, old := range []string{sums, image} {
		if err := os.RemoveAll(old); err != nil {
			return "", err
		}
	}
	cmd := exec.Command("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", root, image, imageSize)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mke2fs: %w\n%s", err, out)
	}
	if want, err = imageSums(root, image); err != nil {
		return "", err
	}
	return image, os.WriteFile(sums, []byte(want), 0o644)
}

// imageSums is what the file beside the image should hold.
func imageSums(root, image string) (string, error) {
	tree, err := debs.HashFile(filepath.Join(root, debs.ManifestName))
	if err != nil {
		return "", err
	}
	disk, err := debs.HashFile(image)
	return fmt.Sprintf("tree %s\nimage %s\n", tree, disk), err
}
