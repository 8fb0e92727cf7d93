package webhook_test

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/acttest"
	"assay.dev/assay/act/webhook"
)

const token = "a-token-of-the-receiver"

// receiver is the contract in memory: service shop has replicas, resting at 5.
type receiver struct {
	mu     sync.Mutex
	levers map[string]float64
	fence  uint64
	keys   map[string]kept
}

type kept struct {
	asked webhook.Desired
	done  webhook.Done
}

func newReceiver() *receiver {
	return &receiver{levers: map[string]float64{"replicas": 5}, keys: map[string]kept{}}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	refuse := func(status int, x webhook.Refused) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(x)
	}
	if req.Header.Get("Authorization") != "Bearer "+token {
		refuse(http.StatusUnauthorized, webhook.Refused{Code: "denied", Detail: "the token is wrong"})
		return
	}
	if req.Method == http.MethodGet {
		if req.URL.Query().Get("service") != acttest.Service {
			refuse(http.StatusNotFound, webhook.Refused{Code: "unknown"})
			return
		}
		out := webhook.Standing{Fence: r.fence, Time: time.Now()}
		for l, v := range r.levers {
			out.Levers = append(out.Levers, act.LeverAt{Lever: assay.Lever(l), Value: v})
		}
		_ = json.NewEncoder(w).Encode(out)
		return
	}
	var d webhook.Desired
	if json.NewDecoder(req.Body).Decode(&d) != nil || req.Header.Get("Idempotency-Key") != d.Key || req.Header.Get("Assay-Fence") != fmt.Sprint(d.Fence) {
		refuse(http.StatusBadRequest, webhook.Refused{Code: "invalid"})
		return
	}
	same := d
	same.Fence = 0
	now, known := r.levers[string(d.Lever)]
	switch first, again := r.keys[d.Key]; {
	case again && first.asked != same:
		refuse(http.StatusConflict, webhook.Refused{Code: "key"})
	case again:
		first.done.Replayed = true
		_ = json.NewEncoder(w).Encode(first.done)
	case d.Service != acttest.Service || !known:
		refuse(http.StatusNotFound, webhook.Refused{Code: "unknown"})
	case d.Fence < r.fence:
		refuse(http.StatusConflict, webhook.Refused{Code: "fence", Fence: r.fence})
	case now != d.Now && now != d.Want:
		refuse(http.StatusConflict, webhook.Refused{Code: "stale"})
	default:
		r.levers[string(d.Lever)], r.fence = d.Want, d.Fence
		done := webhook.Done{Key: d.Key, Value: d.Want, Changed: now != d.Want, Time: time.Now().UTC()}
		r.keys[d.Key] = kept{same, done}
		_ = json.NewEncoder(w).Encode(done)
	}
}

func client(t *testing.T, url string, change ...func(*webhook.Options)) *webhook.Client {
	t.Helper()
	o := webhook.Options{URL: url, Token: func() string { return token }, ReadBack: time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	c, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestWebhookKeepsTheContractOfLevers(t *testing.T) {
	acttest.RunLevers(t, func(t *testing.T) acttest.LeverWorld {
		return acttest.LeverWorld{Actuator: client(t, serve(t, newReceiver())), Lever: assay.LeverReplicas, Rest: 5, Unknown: assay.LeverSpend}
	})
}

// The receiver of the documentation keeps what it promises, also when it is killed.
func TestTheExampleReceiverKeepsTheContractOfLevers(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not there; the example receiver is not run")
	}
	program := filepath.Join("..", "..", "examples", "doors", "receiver.py")
	start := func(t *testing.T, file string) (*webhook.Client, func()) {
		t.Helper()
		cmd := exec.Command(python, program, "0", file)
		cmd.Env = append(os.Environ(), "RECEIVER_TOKEN="+token)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		address, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for { // what it carries out; until it ends
				if _, err := lines.ReadString('\n'); err != nil {
					return
				}
			}
		}()
		var once sync.Once
		kill := func() {
			once.Do(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
		}
		t.Cleanup(kill)
		return client(t, strings.TrimSpace(address)), kill
	}
	acttest.RunLevers(t, func(t *testing.T) acttest.LeverWorld {
		file := filepath.Join(t.TempDir(), "levers.json")
		if err := os.WriteFile(file, []byte(`{"shop": {"replicas": 5, "class-admission/batch": 100}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		c, kill := start(t, file)
		return acttest.LeverWorld{Actuator: c, Lever: assay.LeverReplicas, Rest: 5, Unknown: assay.LeverSpend, Reopen: func(t *testing.T) act.Actuator {
			kill()
			c, _ := start(t, file)
			return c
		}}
	})
}

func more(key string) assay.Action {
	return assay.Action{Kind: assay.ActionAdjust, Service: acttest.Service, Lever: assay.LeverReplicas, Now: 5, Want: 8, Fence: 1, Key: key}
}

func TestAnAnswerThatIsLostIsAskedForAgain(t *testing.T) {
	r := newReceiver()
	var lost atomic.Int32
	c := client(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPut && lost.Add(1) <= 2 {
			r.ServeHTTP(httptest.NewRecorder(), req) // taken, and nobody hears of it
			http.Error(w, "gateway", http.StatusBadGateway)
			return
		}
		r.ServeHTTP(w, req)
	})))
	got, err := c.Apply(t.Context(), more("k"))
	if err != nil || !got.Changed || got.Stands != 8 || lost.Load() != 3 {
		t.Errorf("Apply = %+v, %v after %d attempts; want the receipt of the change after 3", got, err, lost.Load())
	}
}

func TestAReceiverThatAnswersAndDoesNotActIsUnavailable(t *testing.T) {
	c := client(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPut {
			fmt.Fprint(w, `{"key":"k","value":8,"changed":true,"time":"2026-11-02T09:00:00Z"}`)
			return
		}
		fmt.Fprint(w, `{"levers":[{"lever":"replicas","value":5}],"fence":1,"time":"2026-11-02T09:00:00Z"}`)
	})), func(o *webhook.Options) { o.Timeout = 50 * time.Millisecond })
	if _, err := c.Apply(t.Context(), more("k")); assay.CodeOf(err) != assay.CodeUnavailable || !strings.Contains(err.Error(), "was not seen at 8") {
		t.Errorf("Apply = %v; want unavailable, because it was never seen", err)
	}
}

func TestWhatAReceiverTookIsNoRefusalWhateverItSaysWhenItIsAsked(t *testing.T) {
	const done = `{"key":"k","value":8,"changed":true,"time":"2026-11-02T09:00:00Z"}`
	for name, c := range map[string]struct {
		status int
		body   string
		want   assay.Code
	}{
		"denied":                            {403, `{"code":"denied","detail":"not to you"}`, assay.CodeUnavailable},
		"not found":                         {404, `{"code":"unknown"}`, assay.CodeUnavailable},
		"a fence":                           {409, `{"code":"fence","fence":9}`, assay.CodeUnavailable},
		"too many levers":                   {200, `{"levers":[` + strings.Repeat(`{"lever":"replicas","value":8},`, webhook.MaxLevers) + `{"lever":"replicas","value":8}]}`, assay.CodeUnavailable},
		"where all stand that it lists not": {200, `{"levers":[{"lever":"replicas","scope":"us","value":2},{"lever":"replicas","scope":"*","value":8}]}`, ""},
		"its scope stands elsewhere":        {200, `{"levers":[{"lever":"replicas","value":2},{"lever":"replicas","scope":"*","value":8}]}`, assay.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Method == http.MethodPut {
					fmt.Fprint(w, done)
					return
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			_, err := client(t, url, func(o *webhook.Options) { o.Timeout = 100 * time.Millisecond }).Apply(t.Context(), more("k"))
			if c.want == "" && err != nil || c.want != "" && assay.CodeOf(err) != c.want {
				t.Errorf("Apply = %v (%s); want %q", err, assay.CodeOf(err), c.want)
			}
			if _, deposed := errors.AsType[*act.Deposed](err); deposed {
				t.Errorf("Apply = %v; it was not deposed", err)
			}
		})
	}
}

func TestAnswersOfAReceiverAreJudged(t *testing.T) {
	const done = `{"key":"k","value":8,"changed":true,"time":"2026-11-02T09:00:00Z"}`
	for name, c := range map[string]struct {
		status int
		body   string
		want   assay.Code
	}{
		"not JSON":              {200, "<html>", assay.CodeUnavailable},
		"another key":           {200, strings.Replace(done, `"k"`, `"x"`, 1), assay.CodeUnavailable},
		"another value":         {200, strings.Replace(done, "8", "9", 1), assay.CodeConflict},
		"no time":               {200, `{"key":"k","value":8}`, assay.CodeUnavailable},
		"redirect":              {302, "", assay.CodeUnavailable},
		"overloaded":            {503, "", assay.CodeUnavailable},
		"too many requests":     {429, "", assay.CodeUnavailable},
		"refused without words": {409, "", assay.CodeConflict},
		"denied":                {403, `{"code":"denied","detail":"not on Fridays"}`, assay.CodeDenied},
		"a code of its own":     {400, `{"code":"friday","detail":"not on Fridays"}`, assay.CodeInvalid},
		"too long":              {200, strings.Repeat(" ", webhook.MaxAnswer+1), assay.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if c.status == 302 {
					w.Header().Set("Location", "http://elsewhere.test/")
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			_, err := client(t, url).Apply(t.Context(), more("k"))
			if assay.CodeOf(err) != c.want {
				t.Errorf("Apply = %v (%s); want %s", err, assay.CodeOf(err), c.want)
			}
		})
	}
}

func TestAReceiverMovesOnlyWhatItIsAskedAbout(t *testing.T) {
	r := newReceiver()
	r.levers["spend"] = 100
	c := client(t, serve(t, r), func(o *webhook.Options) { o.Levers = []assay.Lever{assay.LeverSpend} })
	list, err := c.Levers(t.Context(), acttest.Service)
	if err != nil || len(list) != 1 || list[0].Lever != assay.LeverSpend {
		t.Errorf("Levers = %v, %v; want spend alone", list, err)
	}
	if _, err := c.Apply(t.Context(), more("k")); assay.CodeOf(err) != assay.CodeNotFound || r.levers["replicas"] != 5 {
		t.Errorf("Apply = %v with %v replicas; want not found", err, r.levers["replicas"])
	}
}

func TestAReceiverIsBelievedByItsAuthorityAlone(t *testing.T) {
	s := httptest.NewUnstartedServer(newReceiver())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the client that does not believe it
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	if _, err := client(t, s.URL, func(o *webhook.Options) { o.Roots = pool }).Apply(t.Context(), more("k")); err != nil {
		t.Errorf("with its authority: %v", err)
	}
	_, err := client(t, s.URL, func(o *webhook.Options) { o.Roots = x509.NewCertPool() }).Apply(t.Context(), more("k"))
	if assay.CodeOf(err) != assay.CodeUnavailable || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with another authority: %v; want unavailable, because of the certificate", err)
	}
}

func TestATokenThatWasRotatedIsSentAtOnce(t *testing.T) {
	now := "an-old-token"
	c := client(t, serve(t, newReceiver()), func(o *webhook.Options) { o.Token = func() string { return now } })
	if _, err := c.Apply(t.Context(), more("k")); assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("with an old token: %v; want denied", err)
	}
	now = token
	if _, err := c.Apply(t.Context(), more("k")); err != nil {
		t.Errorf("with the new one: %v", err)
	}
}

func TestAServiceThatIsNotTheDoorsIsNotFound(t *testing.T) {
	c := client(t, serve(t, newReceiver()), func(o *webhook.Options) { o.Services = []string{"mail"} })
	if _, err := c.Apply(t.Context(), more("k")); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("Apply = %v; want not found", err)
	}
	if _, err := c.Levers(t.Context(), acttest.Service); assay.CodeOf(err) != assay.CodeNotFound {
		t.Errorf("Levers = %v; want not found", err)
	}
}

func TestOptionsThatWouldGiveTheTokenAwayAreRefused(t *testing.T) {
	for _, o := range []webhook.Options{
		{URL: "http://platform.example/levers"},
		{URL: "http://127.attacker.example/levers"},
		{URL: "http://127.0.0.1.attacker.example/levers"},
		{URL: "ftp://platform.example"},
		{URL: "https://user:pass@platform.example"},
		{URL: "https://platform.example", Timeout: time.Hour},
		{URL: "https://platform.example", Class: "exactly-once"},
	} {
		if _, err := webhook.New(o); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%+v: %v; want invalid", o, err)
		}
	}
	for _, o := range []webhook.Options{
		{URL: "http://platform.example/levers", Insecure: true}, {URL: "http://127.0.0.2:8080/levers"}, {URL: "http://[::1]:8080/levers"}, {URL: "http://localhost/levers"},
	} {
		if _, err := webhook.New(o); err != nil {
			t.Errorf("%s: %v", o.URL, err)
		}
	}
}

func FuzzParseStanding(f *testing.F) {
	f.Add([]byte(`{"levers":[{"lever":"replicas","scope":"eu","value":5}],"fence":3,"time":"2026-11-02T09:00:00Z"}`))
	f.Add([]byte(`{"levers":[{"lever":"","value":-1}]}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := webhook.ParseStanding(data)
		if err != nil {
			return
		}
		for _, l := range s.Levers {
			if l.Lever == "" || !(l.Value >= 0) {
				t.Errorf("%q gives lever %+v", data, l)
			}
		}
	})
}

func FuzzParseDone(f *testing.F) {
	f.Add([]byte(`{"key":"k","value":8,"changed":true,"time":"2026-11-02T09:00:00Z"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := webhook.ParseDone(data); err == nil && (d.Key == "" || d.Time.IsZero()) {
			t.Errorf("%q gives %+v", data, d)
		}
	})
}
