package halt_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/decide"
	"assay.dev/assay/halt"
	"assay.dev/assay/store"
	"assay.dev/assay/store/mem"
)

var (
	noon       = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	everywhere = halt.Scope{}
	bank       = halt.Scope{Namespace: "bank"}
	shop       = halt.Scope{Namespace: "default", Service: "shop"}
)

// desk is a state directory whose store can fail, and a clock.
type desk struct {
	t        *testing.T
	dir      string
	switches halt.Switches
	store    *mem.Store
	before   error // of each commit, without effect
	after    error // of each commit, although it took effect
	now      time.Time
	recorder *halt.Recorder
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, dir: t.TempDir(), now: noon}
	d.switches = halt.In(d.dir)
	d.store = mem.New(mem.Config{Now: d.clock, Upcasters: store.BuiltinUpcasters(), Hooks: mem.Hooks{
		BeforeCommit: func() error { return d.before }, AfterCommit: func() error { return d.after },
	}})
	t.Cleanup(func() { _ = d.store.Close() })
	d.open()
	return d
}

func (d *desk) clock() time.Time { return d.now }

// open is a process that opens the store: what the one before knew is gone.
func (d *desk) open() {
	d.recorder = halt.NewRecorder(d.switches, d.store, d.clock, slog.New(slog.DiscardHandler), nil)
}

func (d *desk) pass(by time.Duration) { d.now = d.now.Add(by) }

func (d *desk) pull(c halt.Scope, by, reason string) halt.Pulled {
	d.t.Helper()
	p, err := d.switches.Pull(c, by, reason, d.now)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

func (d *desk) lift(c halt.Scope, by string) halt.Lifted {
	d.t.Helper()
	l, err := d.switches.Lift(c, by, "", d.now)
	if err != nil {
		d.t.Fatal(err)
	}
	return l
}

func (d *desk) record() {
	d.t.Helper()
	if err := d.recorder.Record(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

// told is a fact and its payload.
type told struct {
	assay.Fact
	halt.Payload
}

func (d *desk) facts(namespace string) (out []told) {
	d.t.Helper()
	err := d.store.View(d.t.Context(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: namespace})
		for _, row := range rows {
			one := told{Fact: row.Fact}
			if err := json.Unmarshal(row.Fact.Payload, &one.Payload); err != nil {
				return err
			}
			out = append(out, one)
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// kinds are the kinds of a namespace's facts in the order of their commits.
func (d *desk) kinds(namespace string) string {
	d.t.Helper()
	var out []string
	for _, f := range d.facts(namespace) {
		out = append(out, strings.TrimPrefix(f.Kind, "automation."))
	}
	return strings.Join(out, " ")
}

func (d *desk) wants(namespace, kinds string) {
	d.t.Helper()
	if got := d.kinds(namespace); got != kinds {
		d.t.Fatalf("facts of %s are %q, want %q", namespace, got, kinds)
	}
}

// journal is what is not crossed out.
func (d *desk) journal() []string {
	list, _ := filepath.Glob(filepath.Join(d.dir, "halt-journal", "*"))
	return list
}

func TestAHaltAndItsLiftAreOneFactEachWithWhoWhenAndWhy(t *testing.T) {
	d := newDesk(t)
	d.pass(time.Minute)
	p := d.pull(shop, "alice", "the numbers look wrong")
	d.record()
	d.record()
	d.pass(time.Minute)
	l, err := d.switches.Lift(shop, "bob", "they were right", d.now)
	if err != nil {
		t.Fatal(err)
	}
	d.record()
	d.record()
	d.wants("default", "halted lifted")
	f := d.facts("default")
	if f[0].ID != p.ID || f[0].Actor != "alice" || f[0].Service != "shop" || !f[0].Time.Equal(noon.Add(time.Minute)) || f[0].Retention != assay.RetainAudit {
		t.Errorf("%+v", f[0].Fact)
	}
	if f[0].Payload != (halt.Payload{Scope: "service", Name: "shop", Reason: "the numbers look wrong"}) {
		t.Errorf("%+v", f[0].Payload)
	}
	if f[1].ID != l.ID || f[1].Actor != "bob" || len(f[1].Causes) != 1 || f[1].Causes[0] != p.ID || !f[1].Time.Equal(noon.Add(2*time.Minute)) {
		t.Errorf("%+v", f[1].Fact)
	}
	if x := f[1].Payload; x.Reason != "they were right" || x.HaltedBy != "alice" || x.Why != "the numbers look wrong" || !x.Since.Equal(p.Since) || x.StoreDown {
		t.Errorf("%+v", x)
	}
	if list := d.journal(); len(list) > 0 {
		t.Errorf("what is recorded still waits: %v", list)
	}
}

func TestASwitchOfEverythingIsAFactOfTheInstallation(t *testing.T) {
	d := newDesk(t)
	d.pull(everywhere, "alice", "nothing works")
	d.pull(bank, "alice", "an audit")
	d.record()
	d.wants(store.SystemNamespace, "halted")
	d.wants("bank", "halted")
	if f := d.facts(store.SystemNamespace)[0]; f.Payload.Scope != "global" || f.Service != "" {
		t.Errorf("%+v", f)
	}
}

func TestASwitchNeverWaitsForTheStoreAndIsRecordedOnceItAnswers(t *testing.T) {
	d := newDesk(t)
	d.pass(time.Minute)
	d.before = errors.New("the disk is gone")
	p := d.pull(shop, "alice", "the disk is gone") // no store is asked
	if got := d.switches.Halted("default", "shop"); len(got) != 1 {
		t.Fatalf("it does not hold: %+v", got)
	}
	for range 3 {
		if err := d.recorder.Record(t.Context()); err == nil {
			t.Fatal("the store took it")
		}
		d.pass(10 * time.Second)
	}
	d.lift(shop, "alice") // still down
	if err := d.recorder.Record(t.Context()); err == nil {
		t.Fatal("the store took it")
	}
	d.wants("default", "")
	d.pass(time.Minute)
	d.before = nil
	d.record()
	d.wants("default", "halted lifted")
	for _, f := range d.facts("default") {
		if !f.StoreDown {
			t.Errorf("%s does not say that the store was down", f.Kind)
		}
	}
	if f := d.facts("default")[0]; !f.Time.Equal(p.Since) || !f.Recorded.After(f.Time) {
		t.Errorf("happened %s, recorded %s", f.Time, f.Recorded)
	}
	d.pass(time.Minute)
	d.pull(shop, "alice", "again")
	d.record()
	if f := d.facts("default")[2]; f.StoreDown {
		t.Error("the store is up again, and the fact says that it was down")
	}
}

func TestWhatHappensWhileNobodyServesIsRecordedAtTheNextStart(t *testing.T) {
	d := newDesk(t)
	d.pull(shop, "alice", "one")
	d.pass(time.Minute)
	d.pull(shop, "bob", "two") // replaces it
	d.pass(time.Minute)
	d.lift(shop, "carol")
	d.pass(time.Minute)
	d.pull(shop, "dave", "three")
	d.pass(time.Minute)
	d.open()
	d.record()
	f := d.facts("default")
	got := map[string]told{}
	for _, one := range f {
		got[one.Actor] = one
	}
	if len(f) != 4 || got["carol"].Kind != assay.FactAutomationLifted || got["carol"].HaltedBy != "bob" || got["dave"].StoreDown != true {
		t.Fatalf("%+v", f)
	}
	if b := got["bob"]; len(b.Causes) != 1 || b.Causes[0] != got["alice"].ID {
		t.Errorf("what it replaced is not its cause: %+v", b.Fact)
	}
	d.open()
	d.record()
	if n := len(d.facts("default")); n != 4 {
		t.Errorf("%d facts after another start", n)
	}
}

func TestACommitOfWhichNobodyKnowsWhetherItTookEffectMakesNoSecondFact(t *testing.T) {
	d := newDesk(t)
	d.pull(shop, "alice", "stop")
	d.after = errors.New("the answer was lost")
	if err := d.recorder.Record(t.Context()); err == nil {
		t.Fatal("the answer came")
	}
	d.after = nil
	d.pass(time.Hour)
	d.record()
	d.lift(shop, "alice")
	d.after = errors.New("the answer was lost")
	if err := d.recorder.Record(t.Context()); err == nil {
		t.Fatal("the answer came")
	}
	d.after = nil
	d.open() // and killed
	d.record()
	d.wants("default", "halted lifted")
}

// A process that is killed leaves the files as they were after some of its operations.
func TestALiftThatWasKilledIsEitherDoneAndRecordedOrDidNotHappen(t *testing.T) {
	d := newDesk(t)
	p := d.pull(shop, "alice", "stop")
	l := d.lift(shop, "bob")
	lifting := filepath.Join(d.dir, "halt-journal", string(l.ID)+".lifting")
	lifted := filepath.Join(d.dir, "halt-journal", string(l.ID)+".lifted")
	if err := os.Rename(lifted, d.switches.Path(shop)); err != nil { // killed before the switch was moved
		t.Fatal(err)
	}
	d.record()
	d.wants("default", "halted")
	if got, ok := d.switches.Read(shop); !ok || got.ID != p.ID {
		t.Fatalf("it does not hold any more: %+v", got)
	}
	if err := os.Rename(d.switches.Path(shop), lifted); err != nil { // killed after
		t.Fatal(err)
	}
	d.record()
	d.wants("default", "halted lifted")
	if _, err := os.Stat(lifting); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half an entry is left: %v", err)
	}
	d.record()
	d.wants("default", "halted lifted")
}

func TestARecorderThatWasKilledBeforeItCrossedOutRecordsNothingTwice(t *testing.T) {
	d := newDesk(t)
	d.pull(shop, "alice", "stop")
	d.lift(shop, "bob")
	saved := map[string][]byte{}
	for _, path := range d.journal() {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		saved[path] = data
	}
	d.record()
	for path, data := range saved {
		if strings.HasSuffix(path, ".pulled") || strings.HasSuffix(path, ".lifting") { // a part of them came back
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.open()
	d.record()
	d.record()
	d.wants("default", "halted lifted")
	for path, data := range saved { // all of them did
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.open()
	d.record()
	d.record()
	d.wants("default", "halted lifted")
}

func TestASwitchThatIsMadeAndRemovedByHandIsOneFactEach(t *testing.T) {
	d := newDesk(t)
	path := d.switches.Path(everywhere)
	if err := os.WriteFile(path, []byte("fire\x1b[2J in the\nhouse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, noon, noon); err != nil {
		t.Fatal(err)
	}
	d.record()
	d.open()
	d.record()
	d.wants(store.SystemNamespace, "halted")
	if f := d.facts(store.SystemNamespace)[0]; f.Actor != halt.Unknown || !f.ByHand || f.Payload.Reason != "fire [2J in the house" {
		t.Errorf("%+v", f)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	d.record()
	d.open()
	d.record()
	d.wants(store.SystemNamespace, "halted lifted")
	if f := d.facts(store.SystemNamespace)[1]; f.Actor != halt.Unknown || !f.ByHand || f.Why == "" {
		t.Errorf("%+v", f)
	}
	d.pass(time.Minute)
	d.pull(everywhere, "alice", "fire")
	if err := os.Remove(path); err != nil { // before anybody recorded it
		t.Fatal(err)
	}
	d.record()
	d.record()
	d.wants(store.SystemNamespace, "halted lifted halted lifted")
}

func TestSwitchesAreReadWidestFirstAndOneThatCannotBeReadIsPulled(t *testing.T) {
	d := newDesk(t)
	if got := d.switches.Halted("default", "shop"); got != nil {
		t.Fatalf("nothing is pulled: %+v", got)
	}
	d.pull(shop, "alice", "one service")
	d.pull(bank, "alice", "a namespace")
	if got := d.switches.Halted("default", "shop"); len(got) != 1 || got[0] != (decide.Halt{Scope: decide.HaltService, Name: "shop", Reason: "one service (alice, 2026-03-01T12:00:00Z)"}) {
		t.Errorf("%+v", got)
	}
	if got := d.switches.Halted("default", "mail"); got != nil {
		t.Errorf("another service is held: %+v", got)
	}
	if got := d.switches.Halted("bank", "anything"); len(got) != 1 || got[0].Scope != decide.HaltNamespace {
		t.Errorf("%+v", got)
	}
	if err := os.Mkdir(d.switches.Path(everywhere), 0o700); err != nil { // a folder is no file that can be read
		t.Fatal(err)
	}
	if got := d.switches.Halted("default", "shop"); len(got) != 2 || got[0].Scope != decide.HaltGlobal || !strings.Contains(got[0].Reason, "cannot be read") {
		t.Errorf("%+v", got)
	}
	d.record()
	d.wants(store.SystemNamespace, "halted")
	d.lift(everywhere, "alice")
	d.record()
	d.wants(store.SystemNamespace, "halted lifted")
}

func TestASwitchThatTheStoreWillNeverTakeHoldsAndKeepsNothingElseBack(t *testing.T) {
	d := newDesk(t)
	odd := halt.Scope{Namespace: strings.Repeat("n", 150), Service: "x"}
	path := d.switches.Path(odd)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("odd"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.pull(shop, "alice", "stop")
	d.record()
	d.wants("default", "halted")
	if got := d.switches.Halted(odd.Namespace, odd.Service); len(got) != 1 {
		t.Errorf("it does not hold: %+v", got)
	}
}

func TestManyWhoPullAndLiftAtOnceLeaveOneFactForEachThatWasAcknowledged(t *testing.T) {
	d := newDesk(t)
	type done struct{ pulled, lifted int }
	out := make(chan done)
	for range 4 {
		go func() {
			var n done
			for range 25 {
				if _, err := d.switches.Pull(shop, "alice", "stop", time.Now()); err == nil {
					n.pulled++
				} else {
					t.Error(err)
				}
				if _, err := d.switches.Lift(shop, "bob", "", time.Now()); err == nil {
					n.lifted++
				} else if assay.CodeOf(err) != assay.CodeNotFound {
					t.Error(err)
				}
			}
			out <- n
		}()
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = d.recorder.Record(t.Context())
		}
	}()
	var want done
	for range 4 {
		n := <-out
		want.pulled, want.lifted = want.pulled+n.pulled, want.lifted+n.lifted
	}
	stop()
	<-ended
	d.record()
	d.record()
	var got done
	byHand := 0
	err := d.store.View(t.Context(), func(r store.Reader) error {
		rows, err := r.Facts(store.Query{Namespace: "default", Limit: store.MaxLimit})
		for _, row := range rows {
			switch {
			case row.Fact.Kind == assay.FactAutomationHalted:
				got.pulled++
			case strings.Contains(string(row.Fact.Payload), `"by_hand":true`):
				byHand++
			default:
				got.lifted++
			}
		}
		return err
	})
	if err != nil || got != want || byHand > 0 {
		t.Errorf("%+v recorded, %+v acknowledged, %d by hand, %v", got, want, byHand, err)
	}
}
