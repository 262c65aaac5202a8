// SPDX-License-Identifier: Apache-2.0

package frontend

import "unsafe"

// Wire is a wire structure's memory as bytes: FUSE speaks the host's byte order and lays its
// structures out as C does. T holds no pointers. The bytes are valid as long as v is.
func Wire[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
