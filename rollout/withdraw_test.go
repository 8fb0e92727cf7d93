package rollout_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
	"assay.dev/assay/rollout"
)

// withdrawing puts d before a controller that takes the exceptions of ids back.
func (s *stage) withdrawing(d rollout.Door, ids *[]string) {
	s.with(func(c *rollout.Config) {
		c.Door = d
		c.Withdrawn = func(context.Context) ([]string, error) { return slices.Clone(*ids), nil }
	})
}

func TestTheDoorIsToldWhichExceptionsWereRevoked(t *testing.T) {
	s, d := newStage(t, 60, 0.01), &awkward{memoryDoor: newDoor(t)}
	ids := []string{"e2", "e1", "e2"}
	s.withdrawing(d, &ids)
	tell := func(want ...string) {
		t.Helper()
		if err := s.ctl.Withdraw(t.Context()); err != nil {
			t.Error(err)
		}
		if got := d.state.Config.Withdrawn; !slices.Equal(got, want) {
			t.Errorf("the door knows %v; want %v", got, want)
		}
	}
	tell("e1", "e2")
	ids = []string{"e2"}
	tell("e2")
	// Somebody else replaces the configuration: what was taken back stays so.
	conf := d.state.Config
	conf.Withdrawn = nil
	if _, err := d.Replace(t.Context(), enforce.Replacement{Generation: d.state.Generation, Key: "theirs", Config: conf}); err != nil {
		t.Fatal(err)
	}
	tell("e2")
	ids = []string{"e1", "e2"}
	d.between = func(d *memoryDoor) { // another change between reading and writing
		conf := d.state.Config
		conf.Routes = slices.Clone(conf.Routes)
		conf.Routes[0].Timeout = 1
		next, _, _, err := d.state.Replace(enforce.Replacement{Generation: d.state.Generation, Key: "theirs too", Config: conf}, began)
		if err != nil {
			t.Error(err)
		}
		d.state = next
	}
	tell("e1", "e2")
	if d.route().Timeout != 1 {
		t.Error("the change of somebody else was undone")
	}
	ids = nil
	tell()
}

func TestWhatTheDoorCannotBeToldIsLogged(t *testing.T) {
	s, d := newStage(t, 62, 0.01), newDoor(t)
	conf := d.state.Config
	conf.Withdrawn = []string{"theirs"}
	if _, err := d.Replace(t.Context(), enforce.Replacement{Generation: 1, Key: "theirs", Config: conf}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i := range enforce.MaxWithdrawn + 2 {
		ids = append(ids, fmt.Sprintf("e%06d", i))
	}
	var out bytes.Buffer
	s.with(func(c *rollout.Config) {
		c.Door, c.Log = d, slog.New(slog.NewTextHandler(&out, nil))
		c.Withdrawn = func(context.Context) ([]string, error) { return ids, nil }
	})
	if err := s.ctl.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.state.Config.Withdrawn; len(got) != enforce.MaxWithdrawn || got[0] != "e000002" {
		t.Errorf("the door knows %d, from %s on", len(got), got[0])
	}
	for _, want := range []string{"left_out=2", "let in again", "first=theirs"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &out)
		}
	}
}

func TestADoorThatDoesNotAnswerIsToldLater(t *testing.T) {
	s, d := newStage(t, 61, 0.01), &awkward{memoryDoor: newDoor(t)}
	ids := []string{"e1"}
	s.withdrawing(d, &ids)
	d.refuse = assay.CodeUnavailable
	if err := s.ctl.Withdraw(t.Context()); assay.CodeOf(err) != assay.CodeUnavailable {
		t.Errorf("a door that is away: %v", err)
	}
	d.refuse, d.lose = "", true // it takes the change and the answer is lost
	if err := s.ctl.Withdraw(t.Context()); err == nil {
		t.Error("a lost answer says nothing")
	}
	d.lose = false
	if err := s.ctl.Withdraw(t.Context()); err != nil || !slices.Equal(d.state.Config.Withdrawn, ids) {
		t.Errorf("%v with %v", err, d.state.Config.Withdrawn)
	}
	s.with(func(c *rollout.Config) {
		c.Door, c.Withdrawn = d, func(context.Context) ([]string, error) { return nil, errors.New("no store") }
	})
	if err := s.ctl.Withdraw(t.Context()); err == nil || len(d.state.Config.Withdrawn) != 1 {
		t.Errorf("what is not known takes nothing back: %v with %v", err, d.state.Config.Withdrawn)
	}
	var nobody *rollout.Controller
	if err := nobody.Withdraw(t.Context()); err != nil {
		t.Errorf("an installation without an enforcer: %v", err)
	}
}
