package ui_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/control/controltest"
)

func TestCoverageTellsHowManyChecksPassedByEnvironmentAndDay(t *testing.T) {
	w := empty(t, viewer)
	says(t, w.get("/coverage"), http.StatusOK, "Checks that passed", "Nothing was checked, which is not the same")
	dev := w.As("ci", namespace, api.RoleDeveloper)
	attest := func(environment, name string, reports ...string) {
		req := w.Request(dev, name, reports...)
		req.Environment = environment
		_, err := dev.Attest(t.Context(), req)
		must(t, err)
	}
	attest("prod", "good", controltest.Tests, controltest.Clean)
	attest("staging", "bad", controltest.Tests, controltest.Vulnerable)
	if body := w.get("/coverage").Body.String(); strings.Contains(body, "target holds") {
		t.Error("the rate was measured again within a minute")
	}
	w.Advance(time.Minute)
	rec := w.get("/coverage")
	says(t, rec, http.StatusOK, "target holds", "<b>prod</b>", "100.00 %", "target missed", "<b>staging</b>", "50.00 %",
		"99 % of them should pass. All together 75.00 %, 3 of 4.", w.Now().UTC().Format(time.DateOnly))
	if body := rec.Body.String(); strings.Contains(body, "Nothing was checked") || strings.Count(body, "<td>prod</td>") != 1 {
		t.Error("the days without a check are listed, or prod's day is not")
	}
}
