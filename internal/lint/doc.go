// SPDX-License-Identifier: Apache-2.0

// Package lint holds no code, only the test that holds docs/architecture.md against the code: who
// may import whom, where unsafe may stand, how large files and functions may be, and what
// libraries must not do. Exceptions, each with its reason, are in allow.txt.
package lint
