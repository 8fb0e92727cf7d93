//go:build race

package attest_test

import "testing"

// What bombs_test.go does to every byte.
func TestASampleOfByteFlipsFailsOrChangesNothing(t *testing.T) { flipBytes(t, 29) }
