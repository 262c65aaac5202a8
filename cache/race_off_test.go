// SPDX-License-Identifier: Apache-2.0

//go:build !race

package cache

// raceDetector: sync.Pool drops a part of what it is given.
const raceDetector = false
