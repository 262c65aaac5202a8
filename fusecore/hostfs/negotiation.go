// SPDX-License-Identifier: Apache-2.0

package hostfs

import "fmt"

// Negotiation says what becomes of a feature that not every guest has.
type Negotiation string

// The kinds of negotiation.
const (
	NegotiateNever  Negotiation = "never"  // the feature is off
	NegotiateAuto   Negotiation = "auto"   // it is on for guests that have it
	NegotiateAlways Negotiation = "always" // a guest without it is not served
)

func (n Negotiation) wants() bool { return n == NegotiateAuto || n == NegotiateAlways }

func (n Negotiation) check(what string) error {
	if n != "" && n != NegotiateNever && !n.wants() {
		return fmt.Errorf("%s cannot be %q", what, string(n))
	}
	return nil
}
