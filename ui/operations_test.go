package ui_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/mitigate"
	"assay.dev/assay/rollout"
	"assay.dev/assay/store"
)

func TestOperationsTellHowFastVersionsAreTakenBackAndWhetherActionsHelp(t *testing.T) {
	w := empty(t, viewer)
	says(t, w.get("/operations"), http.StatusOK, "nothing measured", "no rollout ended and no strategy acted")
	happen := func(kind string, payload any) {
		data, err := json.Marshal(payload)
		must(t, err)
		must(t, w.Store.Update(t.Context(), func(tx store.Tx) error {
			_, err := tx.Append(assay.Fact{
				Kind: kind, Version: 1, Time: w.Now(), Namespace: namespace, Service: "shop", Actor: "assay",
				Retention: assay.RetainOperational, Payload: data,
			})
			return err
		}))
	}
	happen(assay.FactRolloutEnded, rollout.EndedPayload{Rollout: "a", Status: api.RolloutAborted, Canary: assay.Rate{Total: 9}, Began: w.Now().Add(-42 * time.Second)})
	happen(assay.FactRolloutEnded, rollout.EndedPayload{Rollout: "b", Status: api.RolloutPromoted, Canary: assay.Rate{Total: 9}, Began: w.Now().Add(-time.Hour)})
	act := assay.Action{Kind: assay.ActionAdjust, Lever: assay.LeverReplicas, Now: 2, Want: 4}
	happen(assay.FactMitigationActed, mitigate.ActedPayload{Action: act})
	happen(assay.FactMitigationJudged, mitigate.JudgedPayload{Outcome: assay.ActionOutcome{Action: act, Effect: assay.EffectHarmed}})
	w.Advance(time.Minute)
	says(t, w.get("/operations"), http.StatusOK, "1 of 4 targets is missed", "<b>Time to revert</b>", "42 s", "the slowest of 1", "below 10",
		"<b>Actions carried out</b>", "1 of 1", "0 of 1; 1 harmed, of 0 nobody can say", "nothing measured", `<a href="/services/shop"><b>shop</b></a>`, `2</td><td class="n nowrap">1 <span class="dim">50 %</span>`)
}
