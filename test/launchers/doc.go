// SPDX-License-Identifier: Apache-2.0

// Package launchers holds the tests that run the daemon as the programs do that start virtiofsd:
// with the very command line of each, in the surroundings that it makes (user, groups, working
// directory, inherited descriptors, environment), watched for the same sign of readiness, served to a
// front-end in user space, and ended in the same way.
package launchers
