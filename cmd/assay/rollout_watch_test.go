package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/term"
)

// restarting answers for a rollout as a control plane that is gone for a while, and at the end
// of the day has promoted it.
type restarting struct {
	rolloutReads
	began           time.Time
	gone, back, end time.Duration // since began
}

func (s restarting) Rollout(ctx context.Context, id string) (api.Rollout, error) {
	at := time.Since(s.began)
	switch {
	case at >= s.gone && at < s.back:
		return api.Rollout{}, assay.Errorf(assay.CodeUnavailable, "cannot reach the server: connection refused")
	case at >= s.end:
		return api.Rollout{ID: id, Status: api.RolloutPromoted}, nil
	}
	return api.Rollout{ID: id, Status: api.RolloutRunning}, ctx.Err()
}

func TestAWatchOutlivesARestartOfTheControlPlane(t *testing.T) {
	for name, c := range map[string]struct {
		gone, back time.Duration
		fails      string
		says       int
	}{
		"a restart":                  {10 * time.Second, 40 * time.Second, "", 1},
		"no restart":                 {0, 0, "", 0},
		"a server that is gone":      {10 * time.Second, 24 * time.Hour, "cannot reach the server: connection refused", 1},
		"one that never was reached": {0, 24 * time.Hour, "cannot reach the server: connection refused", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out, said bytes.Buffer
				env := func(string) string { return "" }
				a := &app{format: "table", now: time.Now, out: term.New(&out, env), err: term.New(&said, env)}
				began := time.Now()
				err := a.watchRollout(t.Context(), restarting{began: began, gone: c.gone, back: c.back, end: 2 * time.Minute}, "r1")
				if c.fails == "" && err != nil || c.fails != "" && (err == nil || err.Error() != c.fails) {
					t.Errorf("%v, want %q", err, c.fails)
				}
				if n := strings.Count(said.String(), "connection refused; asking again for 1m0s\n"); n != c.says {
					t.Errorf("it was said %d times, want %d: %s", n, c.says, &said)
				}
				if most := c.gone + patience + 2*pollRollout; c.fails != "" && time.Since(began) > most {
					t.Errorf("it waited %s", time.Since(began))
				}
			})
		})
	}
}

func TestAWatchThatIsInterruptedSaysThatTheRolloutGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, stop)
		var out bytes.Buffer
		env := func(string) string { return "" }
		a := &app{format: "table", now: time.Now, out: term.New(&out, env), err: term.New(&out, env)}
		err := a.watchRollout(ctx, restarting{began: time.Now(), end: time.Hour}, "r1")
		if err == nil || err.Error() != "interrupted: the rollout goes on, follow it with: assay rollout watch r1" {
			t.Errorf("%v", err)
		}
	})
}
