package notify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/notify"
	"assay.dev/assay/notify/alertmanager"
	"assay.dev/assay/store/mem"
)

// receiver takes alerts as Alertmanager does.
type receiver struct {
	mu     sync.Mutex
	status int
	poison string // an alert with this summary is refused, with all that come with it
	got    []taken
}

type taken struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
	auth                string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, _ := io.ReadAll(req.Body)
	var list []taken
	switch {
	case req.Method != http.MethodPost || req.URL.Path != "/am/api/v2/alerts" || req.Header.Get("Content-Type") != "application/json":
		w.WriteHeader(http.StatusNotFound)
	case r.status != 0:
		w.WriteHeader(r.status)
	case json.Unmarshal(body, &list) != nil || r.poison != "" && strings.Contains(string(body), r.poison):
		w.WriteHeader(http.StatusBadRequest)
	default:
		for _, a := range list {
			a.auth = req.Header.Get("Authorization")
			r.got = append(r.got, a)
		}
	}
}

// take returns what came since the last call: "name" of what stands, "-name" of what is over.
func (r *receiver) take(now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, a := range r.got {
		name := a.Labels["alertname"]
		if !now.Before(a.EndsAt) {
			name = "-" + name
		}
		out = append(out, name)
	}
	slices.Sort(out)
	r.got = nil
	return strings.Join(out, " ")
}

type world struct {
	t        *testing.T
	now      time.Time
	receiver *receiver
	standing []notify.Alert
	keeper   *notify.Keeper
	store    *mem.Store
	url      string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), receiver: &receiver{}}
	s := httptest.NewServer(w.receiver)
	t.Cleanup(s.Close)
	w.url = s.URL + "/am/"
	w.store = mem.New(mem.Config{Now: func() time.Time { return w.now }})
	w.restart()
	return w
}

// restart is another process over the same state.
func (w *world) restart() {
	w.t.Helper()
	sender, err := alertmanager.New(w.url, "sesame", func() time.Time { return w.now })
	if err != nil {
		w.t.Fatal(err)
	}
	w.keeper = notify.New(notify.Config{
		Store: w.store, Sender: sender, Namespaces: func() ([]string, error) { return []string{"shop"}, nil },
		Standing: func(context.Context, string, time.Time) ([]notify.Alert, error) { return slices.Clone(w.standing), nil },
		Now:      func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
	})
}

func (w *world) alert(name string, ends time.Duration) notify.Alert {
	a := notify.Alert{ID: name, Labels: map[string]string{"alertname": name}, Annotations: map[string]string{"summary": "about " + name}, Starts: w.now}
	if ends != 0 {
		a.Ends = w.now.Add(ends)
	}
	return a
}

// after lets time pass, looks once and says what came.
func (w *world) after(d time.Duration, want string) {
	w.t.Helper()
	w.now = w.now.Add(d)
	if err := w.keeper.Step(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if got := w.receiver.take(w.now); got != want {
		w.t.Errorf("it was told %q; want %q", got, want)
	}
}

func TestAnAlertIsToldOnceAndAgainEveryHourUntilItIsOver(t *testing.T) {
	w := newWorld(t)
	w.standing = []notify.Alert{w.alert("a", 0), w.alert("b", 90*time.Minute)}
	w.after(0, "a b")
	w.after(5*time.Second, "")
	w.restart()
	w.after(5*time.Second, "")
	w.after(notify.DefaultAgain, "a b")
	w.after(31*time.Minute, "") // b ended as it was told that it would
	w.standing = nil
	w.after(5*time.Second, "-a")
	w.after(5*time.Second, "")
	w.standing = []notify.Alert{w.alert("a", 0)}
	w.after(5*time.Second, "a") // it came back
}

func TestAnAlertThatIsOneTooManyIsNotOver(t *testing.T) {
	w := newWorld(t)
	w.standing = []notify.Alert{w.alert("z", 0)}
	w.after(0, "z")
	for i := range notify.MaxAlerts {
		w.standing = append(w.standing, w.alert(fmt.Sprintf("a%04d", i), 0))
	}
	w.now = w.now.Add(5 * time.Second)
	if err := w.keeper.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.receiver.take(w.now); strings.Contains(got, "z") || strings.Count(got, "a") != notify.MaxAlerts {
		t.Errorf("it was told of %d more, and %q", strings.Count(got, "a"), got[max(0, len(got)-10):])
	}
	w.standing = w.standing[:1]
	w.now = w.now.Add(5 * time.Second)
	if err := w.keeper.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.receiver.take(w.now); strings.Contains(got, "z") || strings.Count(got, "-a") != notify.MaxAlerts {
		t.Errorf("with room again it was told of the end of %d, and of z: %v", strings.Count(got, "-a"), strings.Contains(got, "z"))
	}
	w.standing = nil
	w.after(5*time.Second, "-z")
}

func TestNothingIsLostWhileNobodyAnswers(t *testing.T) {
	w := newWorld(t)
	w.standing = []notify.Alert{w.alert("a", 0)}
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusNotFound, http.StatusUnauthorized, http.StatusFound} {
		w.receiver.status = status
		if err := w.keeper.Step(t.Context()); assay.CodeOf(err) != assay.CodeUnavailable {
			t.Errorf("%d: %v", status, err)
		}
		w.restart()
	}
	w.receiver.status = 0
	w.after(time.Minute, "a")
	w.standing = nil
	w.receiver.status = http.StatusBadGateway
	if err := w.keeper.Step(t.Context()); err == nil {
		t.Error("that it is over was told to nobody")
	}
	w.receiver.status = 0
	w.after(time.Minute, "-a")
}

func TestWhatWasOverBeforeAnybodyWasToldIsToldAllTheSame(t *testing.T) {
	w := newWorld(t)
	a := w.alert("a", time.Hour)
	a.Ends = w.now.Add(-time.Second) // taken back at once
	w.standing = []notify.Alert{a}
	w.after(0, "a") // it stands long enough to be passed on
	w.after(5*time.Second, "")
	w.after(time.Hour, "")
}

func TestAnAlertThatEndsEarlierIsOver(t *testing.T) {
	w := newWorld(t)
	w.standing = []notify.Alert{w.alert("a", time.Hour)}
	w.after(0, "a")
	w.standing[0].Ends = w.now.Add(time.Minute)
	w.after(2*time.Minute, "-a")
	w.after(5*time.Second, "")
}

func TestAnAlertThatIsRefusedHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	w.receiver.poison = "about b"
	w.standing = []notify.Alert{w.alert("a", 0), w.alert("b", 0), w.alert("c", 0)}
	w.after(0, "a c")
	w.after(5*time.Second, "")
	w.receiver.poison = ""
	w.after(notify.DefaultAgain, "a b c")
}

func TestATokenIsKeptSecret(t *testing.T) {
	w := newWorld(t)
	w.standing = []notify.Alert{w.alert("a", 0)}
	w.after(0, "a")
	w.standing = append(w.standing, w.alert("b", 0))
	if err := w.keeper.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.receiver.mu.Lock()
	if got := w.receiver.got[0].auth; got != "Bearer sesame" {
		t.Errorf("the token came as %q", got)
	}
	w.receiver.status = http.StatusUnauthorized
	w.receiver.mu.Unlock()
	w.standing = append(w.standing, w.alert("c", 0))
	if err := w.keeper.Step(t.Context()); err == nil || strings.Contains(err.Error(), "sesame") {
		t.Errorf("the error is %v", err)
	}
	for _, address := range []string{"http://user:pass@127.0.0.1", "http://alertmanager.example", "ftp://x", "alertmanager:9093", ""} {
		if _, err := alertmanager.New(address, "sesame", time.Now); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := alertmanager.New("http://alertmanager.example:9093", "", time.Now); err != nil {
		t.Errorf("plain HTTP without a token: %v", err)
	}
}
