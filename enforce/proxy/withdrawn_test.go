package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/enforce"
)

func TestAWithdrawnExceptionEndsTheEntryOfWhatServesAlready(t *testing.T) {
	s := newSigner(t)
	excused, clean := version(t, s, "v5", backend(t, says("excused")), 100), version(t, s, "v4", backend(t, says("clean")), 100)
	use := assay.ExceptionUse{ID: "e1", Digest: digest("e1"), Rules: []string{"r"}, Requester: "ann", Approver: "bob", ValidUntil: time.Now().Add(time.Hour)}
	excused.Attestations[0] = s.attests(t, "v5", time.Now(), use)
	conf := shop(excused)
	other := shop(clean).Routes[0]
	other.Name, other.Path = "other", "/other"
	conf.Routes = append(conf.Routes, other)
	d := open(t, conf, s)
	if a := d.get("/"); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for i, c := range []struct {
		withdrawn []string
		status    int
	}{{[]string{"another"}, http.StatusOK}, {[]string{"another", "e1"}, http.StatusForbidden}, {nil, http.StatusOK}} {
		conf.Withdrawn = c.withdrawn
		key := strings.Repeat("k", i+1)
		if a := d.call(http.MethodPut, "/v1/config", enforce.Replacement{Generation: 1, Key: key, Config: conf}, nil); a.status != http.StatusOK {
			t.Fatalf("withdrawing %v: %d %s", c.withdrawn, a.status, a.body)
		}
		a := d.get("/")
		if a.status != c.status {
			t.Errorf("with %v withdrawn it answers %d; want %d", c.withdrawn, a.status, c.status)
		}
		if a.status == http.StatusForbidden {
			if r := a.problem(t).Refusal; r == nil || r.Name != "exception" || !strings.Contains(r.Detail, "exception e1, which was revoked") {
				t.Errorf("the refusal is %+v", r)
			}
			if v := d.version("v5"); v.Refusal == nil || v.Percent != 100 {
				t.Errorf("the status shows %+v", v)
			}
		}
		if a := d.get("/other"); a.status != http.StatusOK {
			t.Errorf("what rests on no exception answers %d", a.status)
		}
	}
}

func TestAConfigurationNamesWithdrawnExceptionsWithinLimits(t *testing.T) {
	conf := enforce.Config{Withdrawn: make([]string, enforce.MaxWithdrawn+1)}
	if err := conf.Check(); assay.CodeOf(err) != assay.CodeTooLarge {
		t.Errorf("too many: %v", err)
	}
	for _, id := range []string{"", "e\n1", strings.Repeat("e", enforce.MaxKey+1)} {
		if err := (enforce.Config{Withdrawn: []string{id}}).Check(); assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("id %q: %v", id, err)
		}
	}
}
