// SPDX-License-Identifier: Apache-2.0

// Package differ gives the same FUSE requests to this daemon and to the Rust virtiofsd, under the same
// options, each on its own copy of one tree, and compares all that is not an identity: errnos, every field
// of the replies, and what is on the host afterwards. Differences that are known stand in a table, each with
// the key of a row in docs/differences.md that tells users of it and why it is so; any other difference is a
// failure, and so is a known one that does not occur any more.
package differ
