package pause

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPauseLastsAsLongAsItSaysOrUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if !For(ctx, 59*time.Second) || time.Since(began) != 59*time.Second {
			t.Errorf("a pause of 59 s ended after %v", time.Since(began))
		}
		if For(ctx, time.Hour) || time.Since(began) != time.Minute {
			t.Errorf("a pause outlived its context: %v", time.Since(began))
		}
	})
}

func TestRoundsFollowEachOtherByTheWaitsTheyAskFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		var at []time.Duration
		Between(ctx, func() time.Duration {
			at = append(at, time.Since(began))
			return time.Duration(len(at)) * time.Second
		})
		want := []time.Duration{0, time.Second, 3 * time.Second, 6 * time.Second} // and 10, when ctx ends
		if len(at) < len(want) || len(at) > len(want)+1 {
			t.Fatalf("rounds at %v, expected %v", at, want)
		}
		for i, d := range want {
			if at[i] != d {
				t.Errorf("round %d at %v, expected %v", i, at[i], d)
			}
		}
	})
}
