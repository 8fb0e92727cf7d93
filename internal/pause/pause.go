// Package pause waits for a while, or until nobody wants to wait any more.
package pause

import (
	"context"
	"time"
)

// For waits for d and reports whether it has passed; false means that ctx ended before.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Between calls round at once and again after the wait that it returns, until ctx ends.
func Between(ctx context.Context, round func() (wait time.Duration)) {
	for For(ctx, round()) {
	}
}
