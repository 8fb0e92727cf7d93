package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

func TestReviewsAreDueAtTheirRateAndNeverEarly(t *testing.T) {
	const n, interval = 20, time.Millisecond
	began := time.Now()
	var dues []time.Time
	err := at(t.Context(), began, interval, n, func(i int, due time.Time) {
		if i != len(dues) || time.Now().Before(due) {
			t.Errorf("review %d came at %s, due at %s", i, time.Since(began), due.Sub(began))
		}
		dues = append(dues, due)
	})
	if err != nil || len(dues) != n {
		t.Fatalf("%d of %d reviews, %v", len(dues), n, err)
	}
	for i, due := range dues {
		if due.Sub(began) != time.Duration(i)*interval { // a late one delays none behind it
			t.Errorf("review %d is due after %s", i, due.Sub(began))
		}
	}
}

func TestSendingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	sent := 0
	err := at(ctx, time.Now(), time.Microsecond, 1000, func(i int, _ time.Time) {
		if sent++; i == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || sent != 3 {
		t.Errorf("%d sent, %v", sent, err)
	}
}

func TestOneReviewInTwentyIsDenied(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	denied := 0
	const n = 20_000
	for i := range n {
		body, no := doorReview(random, i)
		if no {
			denied++
		}
		if images := strings.Count(string(body), `"image":`); images < 1 || images > 3 {
			t.Fatalf("a review of %d images", images)
		}
	}
	if share := float64(denied) / n; share < 0.04 || share > 0.06 {
		t.Errorf("%.3f of the reviews are denied", share)
	}
}

func TestProcessorTimeIsWhatIsBetweenTwoMoments(t *testing.T) {
	before, err := readUse(os.Getpid())
	if err != nil {
		t.Skip("this system does not say who uses its processors: ", err)
	}
	for began := time.Now(); time.Since(began) < 100*time.Millisecond; { // a processor's work
	}
	after, err := readUse(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if u := after.since(before); u.self <= 0 || u.server <= 0 {
		t.Errorf("a process that worked used %.2f processors, asked another way %.2f", u.self, u.server)
	}
}
