// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest"
)

// TestDemo runs the whole demonstration: it fails when what one side writes does not reach the
// other.
func TestDemo(t *testing.T) {
	if err := demo(); err != nil {
		t.Error(err)
	}
	if err := guest.CleanUp(); err != nil {
		t.Error(err)
	}
}
