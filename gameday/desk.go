package gameday

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
)

// tierHeader is how customers say which tier they have; who says none has the first.
const tierHeader = "X-Tier"

// grade is a class of machines.
type grade struct {
	name string
	cost float64 // a thousand requests, in EUR
}

// grades are the dearest first, with the names and costs of doors/strategies.yaml.
var grades = []grade{{"dedicated", 0.40}, {"shared", 0.15}, {"spot", 0.05}}

// paces are how many times as long a page takes in each of the grades as in the dearest.
type paces [3]float64

// usualPaces are those of all desks but the parlour.
var usualPaces = paces{1, 4, 8}

// Places in grades, as a lever has them.
const (
	dedicated = 0
	shared    = 1
	spot      = 2
)

// desk is a service whose customers have tiers. The proxy sends each tier to the machine of
// its class, which is a process of the shop. One machine of the class shared is there for
// all tiers; of the others a tier has one of its own while it is in that class.
type desk struct {
	d       *drama
	service string
	slower  paces
	base    enforce.Config // what else the proxy routes
	shop    *Release
	common  *Release // the shared machine

	mu       sync.Mutex
	tiers    []*deskTier
	swaps    int
	stopping sync.WaitGroup
}

// deskTier is a tier and where it is served.
type deskTier struct {
	name    string
	grade   int
	machine *Release
	asked   uint64 // requests that the proxy had counted when the account was made up last
	account account
}

// account is what requests cost.
type account struct {
	requests uint64
	eur      float64
}

// less is what came to an account since another one.
func (a account) less(b account) account { return account{a.requests - b.requests, a.eur - b.eur} }

// plus is two accounts in one.
func (a account) plus(b account) account { return account{a.requests + b.requests, a.eur + b.eur} }

// thousand is what a thousand requests cost, in EUR.
func (a account) thousand() float64 { return 1000 * a.eur / float64(max(1, a.requests)) }

// openDesk starts the shared machine, sends all tiers to it, and lets the platform keep the
// class of each.
func (d *drama) openDesk(service string, slower paces, tiers ...string) (*desk, error) {
	v1, err := d.version("v1")
	if err != nil {
		return nil, err
	}
	k := &desk{d: d, service: service, slower: slower, base: d.yard.routes, shop: v1}
	if k.common, err = k.machine(service, shared); err != nil {
		return nil, err
	}
	for _, name := range tiers {
		k.tiers = append(k.tiers, &deskTier{name: name, grade: shared, machine: k.common})
	}
	if err := k.point(); err != nil {
		return nil, err
	}
	for _, name := range tiers {
		d.yard.platform.keep(service, assay.LeverCostClass, name, shared, k.put)
	}
	return k, nil
}

// machine starts a machine of a class.
func (k *desk) machine(whose string, class int) (*Release, error) {
	one := *k.shop
	one.process, one.Version.Name = nil, whose+"-"+grades[class].name
	return &one, k.d.launch(&one, one.Binary, "-seed", fmt.Sprint(k.d.cfg.Seed), "-slower", fmt.Sprint(k.slower[class]))
}

// point tells the proxy where each tier is served.
func (k *desk) point() error {
	route := enforce.Route{
		Name: k.service, Service: k.service, Host: k.service + ".yard", Entry: shopEntry, Timeout: enforce.Duration(2 * time.Second),
	}
	for i, t := range k.tiers {
		v := enforce.Version{Name: t.name, Digest: k.shop.Digest, Backend: t.machine.Backend, Attestations: []json.RawMessage{k.shop.Bundle}}
		if i == 0 {
			v.Weight = 100
		}
		route.Versions = append(route.Versions, v)
		route.Matches = append(route.Matches, enforce.Match{Header: tierHeader, Value: t.name, Version: t.name})
	}
	conf := k.base
	conf.Routes = append(slices.Clone(k.base.Routes), route)
	k.swaps++
	return k.d.route(conf, fmt.Sprintf("%s/%d", k.service, k.swaps))
}

// put moves a tier to another class: its machine is started, the proxy sends the tier's
// requests there, and the one that it had is stopped when it has answered.
func (k *desk) put(tier string, class float64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.tiers[slices.IndexFunc(k.tiers, func(t *deskTier) bool { return t.name == tier })]
	next, err := k.common, error(nil)
	if int(class) != shared {
		if next, err = k.machine(tier, int(class)); err != nil {
			return err
		}
	}
	if err = k.makeUp(); err == nil {
		was, had := t.grade, t.machine
		t.grade, t.machine, next = int(class), next, had
		if err = k.point(); err != nil {
			t.grade, t.machine, next = was, had, t.machine
		}
	}
	k.retire(next)
	return err
}

// retire stops a machine that a tier has no longer.
func (k *desk) retire(m *Release) {
	if m == k.common {
		return
	}
	k.stopping.Go(func() {
		_ = pause(k.d.ctx, 200*time.Millisecond) // for requests that the proxy had on their way there
		m.process.stop()
	})
}

// makeUp charges the requests since the last time to the class that each tier has; with the
// lock.
func (k *desk) makeUp() error {
	status, data, err := k.d.request(http.MethodGet, "http://"+k.d.control+"/v1/status?service="+k.service, "", k.d.secrets.control, nil)
	if err != nil {
		return err
	}
	var now enforce.Status
	if err := json.Unmarshal(data, &now); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the proxy answered %d with what is no status: %w", status, err)
	}
	for _, r := range now.Routes {
		for _, v := range r.Versions {
			for _, t := range k.tiers {
				if r.Name == k.service && t.name == v.Name {
					n := v.Requests - t.asked
					t.asked = v.Requests
					t.account = t.account.plus(account{n, grades[t.grade].cost * float64(n) / 1000})
				}
			}
		}
	}
	return nil
}

// accounts are those of the tiers until now.
func (k *desk) accounts() (map[string]account, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.makeUp()
	out := map[string]account{}
	for _, t := range k.tiers {
		out[t.name] = t.account
	}
	return out, err
}

// customers of a tier come; an answer that takes longer than within is late.
func (k *desk) customers(tier, path string, rate int, within time.Duration) *visitors {
	v := k.d.visit(k.service+".yard", path, rate, tierHeader, tier, "")
	v.mu.Lock()
	defer v.mu.Unlock()
	v.within = within
	return v
}

// at is the class of a tier.
func (k *desk) at(tier string) int {
	return int(k.d.yard.platform.at(k.service, assay.LeverCostClass, tier))
}

// runs reports whether a tier has a machine of its own in a class.
func (k *desk) runs(tier string, class int) bool {
	return k.d.Processes()["shop-"+tier+"-"+grades[class].name] > 0
}

// close ends what the desk started, and the proxy routes what it did before.
func (k *desk) close() error {
	k.d.yard.platform.leave(k.service)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.swaps++
	err := k.d.route(k.base, fmt.Sprintf("%s/%d", k.service, k.swaps))
	k.stopping.Wait()
	for _, t := range k.tiers {
		if t.machine != k.common {
			t.machine.process.stop()
		}
	}
	k.common.process.stop()
	return err
}
