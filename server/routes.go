package server

import (
	"maps"
	"net/http"
	"strconv"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

// slowRoutes move or go through more than others, and get more time: net/http ends a
// request's context with the time for reading it.
var slowRoutes = []string{"POST /v1/evidence", "POST /v1/inventory/scans", "POST /v1/inventory/rebuild", "POST /v1/reports/compliance", "POST /v1/telemetry/imports/{id}/completion"}

// routes maps patterns to what they do, one line each.
func routes() map[string]handler {
	all := map[string]handler{
		"POST /v1/evidence":                     putEvidence,
		"POST /v1/checks":                       check,
		"POST /v1/attestations":                 attested,
		"POST /v1/statements":                   signStatement,
		"GET /v1/attestations/{digest}":         bundle,
		"GET /v1/artifacts":                     artifacts,
		"GET /v1/artifacts/{digest}":            artifact,
		"GET /v1/facts":                         facts,
		"GET /v1/facts/{id}/publication":        publication,
		"GET /v1/facts/{id}/proof":              proof,
		"GET /v1/ledger/head":                   head,
		"POST /v1/exceptions":                   requestException,
		"GET /v1/exceptions":                    exceptions,
		"POST /v1/exceptions/bypass":            bypassException,
		"GET /v1/exceptions/report":             exceptionReport,
		"POST /v1/exceptions/{id}/approval":     approveException,
		"POST /v1/exceptions/{id}/revocation":   revokeException,
		"POST /v1/tokens":                       createToken,
		"GET /v1/tokens":                        tokens,
		"DELETE /v1/tokens/{id}":                revokeToken,
		"GET /v1/keys":                          keys,
		"POST /v1/keys/rotations":               rotateKey,
		"POST /v1/keys/revocations":             revokeKey,
		"GET /v1/trust":                         trust,
		"GET /v1/attestations/{digest}/verdict": verdict,
		"POST /v1/inventory":                    pushInventory,
		"GET /v1/inventory":                     inventory,
		"POST /v1/inventory/scans":              scan,
		"POST /v1/inventory/rebuild":            rebuildIndex,
		"GET /v1/coverage":                      coverage,
		"GET /v1/findings":                      findings,
		"POST /v1/reports/compliance":           compliance,
		"POST /v1/reports/operations":           operations,
		"POST /v1/reports/verification":         verification,
		"GET /v1/policies/schema/{kind}":        schema,
		"POST /v1/admission/check":              checkAdmission,
		"GET /v1/facts/{id}":                    fact,
		"GET /v1/facts/{id}/effects":            effects,
	}
	maps.Copy(all, runTimeRoutes())
	return all
}

// runTimeRoutes are those of what runs: rollouts, strategies, objectives, decisions.
func runTimeRoutes() map[string]handler {
	return map[string]handler{
		"POST /v1/rollouts":                          startRollout,
		"GET /v1/rollouts":                           rollouts,
		"GET /v1/rollouts/{id}":                      oneRollout,
		"POST /v1/rollouts/{id}/promotion":           promoteRollout,
		"POST /v1/rollouts/{id}/abort":               abortRollout,
		"POST /v1/rollouts/{id}/approval":            approveRollout,
		"POST /v1/rollouts/rollbacks":                rollbackRollout,
		"GET /v1/strategies":                         strategies,
		"GET /v1/strategies/{name}":                  oneStrategy,
		"POST /v1/strategies/{name}/answers":         tellStrategy,
		"GET /v1/halts":                              halts,
		"GET /v1/traffic":                            traffic,
		"GET /v1/objectives":                         objectives,
		"GET /v1/objectives/{name...}":               objective,
		"GET /v1/anomalies":                          anomalies,
		"GET /v1/divergences":                        divergences,
		"GET /v1/regions":                            comparedRegions,
		"GET /v1/indicators/{service}":               indicators,
		"GET /v1/models":                             models,
		"GET /v1/models/{name...}":                   oneModel,
		"POST /v1/models/rollbacks":                  rollbackModel,
		"POST /v1/models/refits":                     refitModel,
		"GET /v1/decisions":                          decisions,
		"GET /v1/decisions/{id}":                     decision,
		"GET /v1/decisions/{id}/record":              decisionRecord,
		"GET /v1/forecasts/{service}/{objective...}": foreseen,

		"POST /v1/telemetry/imports":                 beginImport,
		"POST /v1/telemetry/imports/{id}/pieces/{n}": importPiece,
		"POST /v1/telemetry/imports/{id}/completion": completeImport,
		"DELETE /v1/telemetry/imports/{id}":          abandonImport,
	}
}

// putEvidence takes a report as the raw request body and answers with its digest.
func putEvidence(c *control.Session, r *http.Request) (any, error) {
	if r.ContentLength > api.MaxEvidence {
		return nil, assay.Errorf(assay.CodeTooLarge, "the report is larger than %d bytes", api.MaxEvidence)
	}
	return c.PutEvidence(r.Context(), r.Body)
}

func check(c *control.Session, r *http.Request) (any, error) {
	var req api.CheckRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.Check(r.Context(), req)
}

func attested(c *control.Session, r *http.Request) (any, error) {
	var req api.CheckRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.Attest(r.Context(), req)
}

func bundle(c *control.Session, r *http.Request) (any, error) {
	d, err := assay.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return nil, err
	}
	b, err := c.Bundle(r.Context(), d)
	return raw{assay.BundleMediaType, b}, err
}

func artifacts(c *control.Session, r *http.Request) (any, error) {
	limit, err := intParam(r, "limit", 100)
	if err != nil {
		return nil, err
	}
	return c.Artifacts(r.Context(), assay.Digest(r.FormValue("after")), limit)
}

func artifact(c *control.Session, r *http.Request) (any, error) {
	d, err := assay.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return nil, err
	}
	return c.Artifact(r.Context(), d)
}

func facts(c *control.Session, r *http.Request) (any, error) {
	limit, err := intParam(r, "limit", 100)
	if err != nil {
		return nil, err
	}
	reads, err := readsOf(c, r)
	if err != nil {
		return nil, err
	}
	return reads.Facts(r.Context(), r.URL.Query()["kind"], assay.Digest(r.FormValue("subject")), limit)
}

func publication(c *control.Session, r *http.Request) (any, error) {
	reads, err := readsOf(c, r)
	if err != nil {
		return nil, err
	}
	return reads.Publication(r.Context(), assay.FactID(r.PathValue("id")))
}

// proof waits until the fact is published, at most for the server's request time.
func proof(c *control.Session, r *http.Request) (any, error) {
	reads, err := readsOf(c, r)
	if err != nil {
		return nil, err
	}
	b, err := reads.Proof(r.Context(), assay.FactID(r.PathValue("id")))
	return raw{assay.ProofMediaType, b}, err
}

func head(c *control.Session, r *http.Request) (any, error) { return c.Head(r.Context()) }

func requestException(c *control.Session, r *http.Request) (any, error) {
	var req api.ExceptionRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.RequestException(r.Context(), req)
}

func exceptions(c *control.Session, r *http.Request) (any, error) { return c.Exceptions(r.Context()) }

func bypassException(c *control.Session, r *http.Request) (any, error) {
	var req api.BypassRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.BypassException(r.Context(), req)
}

func exceptionReport(c *control.Session, r *http.Request) (any, error) {
	return c.ExceptionReport(r.Context())
}

func approveException(c *control.Session, r *http.Request) (any, error) {
	return c.ApproveException(r.Context(), r.PathValue("id"))
}

func revokeException(c *control.Session, r *http.Request) (any, error) {
	var d api.Revocation
	if err := body(r, &d); err != nil {
		return nil, err
	}
	return c.RevokeException(r.Context(), r.PathValue("id"), d.Reason)
}

func createToken(c *control.Session, r *http.Request) (any, error) {
	var req api.TokenRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	return c.CreateToken(r.Context(), req)
}

func tokens(c *control.Session, r *http.Request) (any, error) { return c.Tokens(r.Context()) }

func revokeToken(c *control.Session, r *http.Request) (any, error) {
	return c.RevokeToken(r.Context(), r.PathValue("id"))
}

func schema(_ *control.Session, r *http.Request) (any, error) {
	b, err := control.Schema(r.PathValue("kind"))
	return raw{"application/schema+json", b}, err
}

func intParam(r *http.Request, name string, def int) (int, error) {
	v := r.FormValue(name)
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > 1000 {
		return 0, &assay.Error{Code: assay.CodeInvalid, Field: name, Msg: "is not a whole number from 1 to 1000"}
	}
	return n, nil
}

// allowTime gives a request that moves or goes through much data more time than the listener's default.
func allowTime(w http.ResponseWriter, d time.Duration) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(d))  // unsupported only in tests without a connection
	_ = c.SetWriteDeadline(time.Now().Add(d)) // likewise
}
