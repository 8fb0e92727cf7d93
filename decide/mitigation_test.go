package decide_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
)

// recorded is a busy mitigation whose best actions a guard refuses.
func recorded(t testing.TB) decide.Mitigation {
	t.Helper()
	p := busy()
	p.Explore, p.MaxHarm, p.Margin = 0.01, 0.9, 1e-9
	for i := range p.Options {
		p.Options[i].Action.Kind = []assay.ActionKind{assay.ActionAdjust, assay.ActionRestore}[i%2]
	}
	draws := make([]float64, len(p.Options))
	for i := range draws {
		draws[i] = (float64(i) + 0.3) / 10.7
	}
	rails := automatic()
	rails.Limits = []decide.Limit{{Target: "replicas", Max: new(9.0)}}
	m, err := decide.Mitigate(p, decide.Guardrails(rails, decide.History{Strategy: p.Strategy, Quiet: start.Add(-time.Hour)}, start), start, draws)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestARecordedMitigationIsReplayedToTheByte(t *testing.T) {
	m := recorded(t)
	if m.Decision.Inputs == "" || len(m.Decision.Guards) < 2 {
		t.Fatalf("inputs %q, %d guard verdicts", m.Decision.Inputs, len(m.Decision.Guards))
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := decide.Replay(data)
	if err != nil || !again.Identical || !again.SameChoice || again.Engine != decide.WeighEngine {
		t.Fatalf("%+v, %v", again, err)
	}
	parsed, err := decide.ParseMitigation(data)
	if err != nil {
		t.Fatal(err)
	}
	if back, _ := parsed.Encode(); !bytes.Equal(back, data) {
		t.Error("reading and writing changes it")
	}
}

func TestAChangedMitigationIsNotIdentical(t *testing.T) {
	m := recorded(t)
	m.Decision.Beliefs[0].After += 1e-12
	data, _ := m.Encode()
	again, err := decide.Replay(data)
	if err != nil || again.Identical || !again.SameChoice {
		t.Errorf("changed belief: %+v, %v", again.SameChoice, err)
	}
	m = recorded(t)
	m.Problem.Burn *= 3
	data, _ = m.Encode()
	if again, err = decide.Replay(data); err != nil || again.Identical {
		t.Errorf("changed input: identical %t, %v", again.Identical, err)
	}
}

func TestMitigationRecordsThatCannotBeAreRefused(t *testing.T) {
	if _, err := decide.ParseMitigation(make([]byte, decide.MaxRecordBytes+1)); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("too large: %v", err)
	}
	for _, text := range []string{"", "{}x", `{"problem":{"gremlins":1}}`, `{"problem":{"burn":"much"}}`} {
		if _, err := decide.ParseMitigation([]byte(text)); err == nil {
			t.Errorf("%q is read", text)
		}
	}
	if _, err := decide.Replay([]byte(`{"problem":{},"now":"2026-11-21T12:00:00Z","decision":{}}`)); err == nil {
		t.Error("an empty problem is decided")
	}
}

func FuzzParseMitigation(f *testing.F) {
	data, _ := recorded(f).Encode()
	f.Add(data)
	f.Add([]byte(`{"problem":{"strategy":"x"},"now":"2026-11-21T12:00:00Z","decision":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decide.ParseMitigation(data)
		if err != nil {
			return
		}
		if _, err := m.Encode(); err != nil && !strings.Contains(err.Error(), "cannot be recorded") {
			t.Fatal(err)
		}
		if again, err := decide.Replay(data); err == nil && len(again.Bytes) == 0 {
			t.Fatal("replayed without bytes")
		}
	})
}

func BenchmarkMitigate(b *testing.B) {
	p := busy()
	for b.Loop() {
		if _, err := decide.Mitigate(p, allow, start, nil); err != nil {
			b.Fatal(err)
		}
	}
}
