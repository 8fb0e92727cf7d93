package gameday

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
)

// limitBypass is a play in which somebody who may not tries to lift a rate limit.
func limitBypass(d *drama) error {
	const limit = 50
	leverURL := "http://" + d.control + "/v1/routes/" + till + "/lever"
	pull := func(now, want float64, generation uint64, key string) []byte {
		data, err := json.Marshal(enforce.Pull{Lever: assay.LeverRateLimit, Now: now, Want: want, Generation: generation, Key: key})
		if err != nil {
			return nil // it has numbers and names alone
		}
		return data
	}
	status, answer, err := d.request(http.MethodPut, leverURL, "", d.secrets.control, pull(0, limit, 7, "owner/1"))
	if err != nil {
		return err
	}
	d.check("its owner sets the limit", status == http.StatusOK, "%d %s", status, answer)
	people := d.visit("till.yard", "/items", 200, "", "", "")
	defer people.leave()
	before, err := d.during(3*time.Second, people)
	if err != nil {
		return err
	}
	d.check("the limit holds", before.held > before.ok, "%+v", before)
	return d.step("bypass", "five ways around the limit", func() (bool, string, error) {
		bare := d.yard.routes
		bare.Routes = slices.Clone(bare.Routes)
		for i := range bare.Routes {
			if bare.Routes[i].Name == till {
				bare.Routes[i].Levers = nil
			}
		}
		config, err := json.Marshal(enforce.Replacement{Generation: 99, Key: "thief/1", Config: bare})
		if err != nil {
			return false, "", err
		}
		for _, try := range []struct {
			name, url, token string
			body             []byte
			want             int
		}{
			{"without a token", leverURL, "", pull(limit, 0, 8, "thief/2"), http.StatusUnauthorized},
			{"with somebody else's token", leverURL, d.secrets.ci, pull(limit, 0, 8, "thief/3"), http.StatusUnauthorized},
			{"as an owner that was replaced", leverURL, d.secrets.control, pull(limit, 0, 6, "thief/4"), http.StatusConflict},
			{"with what the owner did, said again", leverURL, d.secrets.control, pull(limit, 0, 7, "owner/1"), http.StatusConflict},
			{"with routes that have no limit", "http://" + d.control + "/v1/config", "", config, http.StatusUnauthorized},
		} {
			status, answer, err := d.request(http.MethodPut, try.url, "", try.token, try.body)
			if err != nil {
				return false, "", err
			}
			d.check("refused "+try.name, status == try.want, "%d %.200s", status, answer)
		}
		l, err := d.lever(till, assay.LeverRateLimit, "")
		if err != nil {
			return false, "", err
		}
		after, err := d.during(2*time.Second, people)
		d.check("the limit stands and holds", l.Value == limit && after.held > after.ok, "%v, %+v", l.Value, after)
		return l.Value == limit, fmt.Sprintf("refused each time; the limit is %g/s, and of 200/s %.0f %% are held", l.Value, 100*after.failing()), err
	})
}
