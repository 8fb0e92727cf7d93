package gameday

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/internal/strict"
)

// The documents of the contract of docs/doors.md, as a receiver writes them for itself.
type (
	desired struct {
		Service string      `json:"service"`
		Lever   assay.Lever `json:"lever"`
		Scope   string      `json:"scope,omitempty"`
		Now     float64     `json:"now"`
		Want    float64     `json:"want"`
		Fence   uint64      `json:"fence"`
		Key     string      `json:"key"`
	}
	done struct {
		Key      string    `json:"key"`
		Value    float64   `json:"value"`
		Changed  bool      `json:"changed"`
		Replayed bool      `json:"replayed,omitempty"`
		Time     time.Time `json:"time"`
		Detail   string    `json:"detail,omitempty"`
	}
	standing struct {
		Levers []act.LeverAt `json:"levers"`
		Fence  uint64        `json:"fence"`
		Time   time.Time     `json:"time"`
	}
	refused struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Fence  uint64 `json:"fence,omitempty"`
	}
)

// platform is where levers live that no proxy has: it keeps the contract of
// docs/doors.md, and carries it out on real processes.
type platform struct {
	w     *World
	url   string
	token string
	srv   *http.Server

	mu     sync.Mutex
	levers map[string]map[string]float64 // by service, by lever and scope
	fences map[string]uint64
	keys   map[string]done
	moved  []desired // in order
	hands  map[string]func(scope string, value float64) error
}

// openPlatform starts it, and names it in the file of doors.
func (d *drama) openPlatform() (*platform, error) {
	ln, err := (&net.ListenConfig{}).Listen(d.ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &platform{
		w: d.World, url: "http://" + ln.Addr().String(), token: secret(), levers: map[string]map[string]float64{},
		fences: map[string]uint64{}, keys: map[string]done{}, hands: map[string]func(string, float64) error{},
	}
	p.srv = &http.Server{Handler: p, ReadHeaderTimeout: time.Second}
	d.closers = append(d.closers, func() { _ = p.srv.Close() })
	go func() { _ = p.srv.Serve(ln) }() // ends with Close
	if err := os.WriteFile(d.path("tokens", "platform-door"), []byte(p.token+"\n"), 0o600); err != nil {
		return nil, err
	}
	doors := fmt.Sprintf("apiVersion: %s\nkind: Doors\nspec:\n  - name: platform\n    url: %s\n    tokenFile: %s\n    levers: [replicas, rate-limit, class-admission, cost-class]\n",
		assay.APIVersion, p.url, d.path("tokens", "platform-door"))
	return p, os.WriteFile(d.path("tokens", "doors.yaml"), []byte(doors), 0o600)
}

// keep begins to keep a lever of a service; do carries out where it shall stand.
func (p *platform) keep(service string, lever assay.Lever, scope string, at float64, do func(scope string, value float64) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.levers[service] == nil {
		p.levers[service] = map[string]float64{}
	}
	p.levers[service][string(lever)+"/"+scope] = at
	p.hands[service+" "+string(lever)+"/"+scope] = do
}

// leave ends keeping the levers of a service: nothing of it is moved any more.
func (p *platform) leave(service string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.levers, service)
}

// at is where a lever stands.
func (p *platform) at(service string, lever assay.Lever, scope string) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.levers[service][string(lever)+"/"+scope]
}

// movesOf is what was asked of the platform about a service, in order.
func (p *platform) movesOf(service string) (out []desired) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.moved {
		if m.Service == service {
			out = append(out, m)
		}
	}
	return out
}

// ServeHTTP implements http.Handler: the contract of a receiver.
func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	status, body := http.StatusUnauthorized, any(refused{Code: "denied", Detail: "the token is wrong"})
	switch {
	case r.Header.Get("Authorization") != "Bearer "+p.token:
	case r.Method == http.MethodGet:
		status, body = p.standing(r.FormValue("service"))
	default:
		var d desired
		data, err := strict.Bounded(r.Body, 64<<10, "the request")
		if err == nil {
			err = strict.JSON(data, &d)
		}
		if err != nil {
			status, body = http.StatusBadRequest, refused{Code: "invalid", Detail: err.Error()}
			break
		}
		status, body = p.put(d)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who asked asks again
}

func (p *platform) standing(service string) (int, any) {
	levers, ok := p.levers[service]
	if !ok {
		return http.StatusNotFound, refused{Code: "unknown", Detail: "there is no such service"}
	}
	out := standing{Levers: []act.LeverAt{}, Fence: p.fences[service], Time: time.Now().UTC()}
	for name, at := range levers {
		lever, scope, _ := strings.Cut(name, "/")
		out.Levers = append(out.Levers, act.LeverAt{Lever: assay.Lever(lever), Scope: scope, Value: at})
	}
	return http.StatusOK, out
}

func (p *platform) put(d desired) (int, any) {
	name := string(d.Lever) + "/" + d.Scope
	now, ok := p.levers[d.Service][name]
	if answer, known := p.keys[d.Key]; known {
		answer.Replayed = true
		return http.StatusOK, answer
	}
	switch {
	case !ok:
		return http.StatusNotFound, refused{Code: "unknown", Detail: "there is no such lever"}
	case d.Fence < p.fences[d.Service]:
		return http.StatusConflict, refused{Code: "fence", Fence: p.fences[d.Service], Detail: "somebody newer owns it"}
	case now != d.Now && now != d.Want:
		return http.StatusConflict, refused{Code: "stale", Detail: fmt.Sprintf("it stands at %v", now)}
	}
	if err := p.hands[d.Service+" "+name](d.Scope, d.Want); err != nil {
		return http.StatusServiceUnavailable, refused{Code: "unavailable", Detail: err.Error()}
	}
	answer := done{Key: d.Key, Value: d.Want, Changed: now != d.Want, Time: time.Now().UTC(), Detail: fmt.Sprintf("%s %s stands at %v", d.Service, name, d.Want)}
	p.levers[d.Service][name], p.fences[d.Service], p.keys[d.Key] = d.Want, d.Fence, answer
	p.moved = append(p.moved, d)
	return http.StatusOK, answer
}

// crew is a number of processes that are all alike.
type crew struct {
	w       *World
	name    string
	run     func(name string) command // what one of them is; nil is one that only is there
	gone    func(name string)         // is told of one that was stopped; may be nil
	members []*Child
	begun   int // in all
}

// idler is a process that only is there.
func (w *World) idler(string) command {
	return command{path: "/bin/sh", args: []string{"-c", "while :; do sleep 0.2; done"}, env: w.environment()}
}

// hold keeps n of them running.
func (c *crew) hold(_ string, n float64) error {
	for len(c.members) > int(n) {
		last := len(c.members) - 1
		c.members[last].kill()
		if c.gone != nil {
			c.gone(c.members[last].Name)
		}
		c.members = c.members[:last]
	}
	for len(c.members) < int(n) {
		c.begun++
		run := c.run
		if run == nil {
			run = c.w.idler
		}
		name := fmt.Sprintf("%s-%d", c.name, c.begun)
		one := run(name)
		one.name = name
		child, _, err := c.w.start(c.w.ctx, one)
		if err != nil {
			return err
		}
		c.members = append(c.members, child)
	}
	return nil
}
