// SPDX-License-Identifier: Apache-2.0

// Package fault makes calls of the host fail on purpose, for people who test guests and programs.
//
// A rule says which calls it is about and what happens to them, in one line:
//
//	write path=/db/** nth=3 error=EIO
//
// First come the operations, separated by commas, or "any" for all of them. Then words in any
// order, each at most once:
//
//	path=GLOB       files whose path in the share, from its root "/" on, is like that: * and ?
//	                stand for parts of a name, [a-z] for a letter, ** for any number of
//	                directories, none included. Without a slash: the last name, anywhere.
//	                With spaces in it: path="a b", with the escapes of a Go string.
//	range=OFF+LEN   calls about one of LEN bytes from OFF on; without LEN: all from there on
//	nth=N           the N-th of these calls; N-M: the N-th to the M-th; N-: the N-th and later
//	every=N         each N-th of them
//	p=P             each of them with probability P
//	seed=N          of the choice by p, default 1: the same seed chooses the same calls
//
//	error=ERRNO     the call fails
//	short=N         the host is asked for at most N bytes; with error: and then the call fails
//	delay=TIME      the call waits, such as 20ms or 1.5s
//	hang            the call waits until Release
//
// OFF, LEN and short's N are in bytes, or with K, M, G, T behind them in powers of 1024.
//
// A rule counts the calls that its operations, path and range fit. An error for a range is like a
// bad spot on a disk: a read, write or copy that begins before the range gets the bytes up to it and
// is not counted, and the one that begins in it fails.
//
// Several rules each count for themselves. Of those that choose the same call the first one acts.
package fault
