package ui

import (
	"context"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
)

// requestException asks for an exception with what the form says.
func requestException(v *view) (string, error) {
	hours, err := strconv.ParseFloat(strings.TrimSpace(v.r.PostFormValue("hours")), 64)
	if err != nil || !(hours > 0 && hours <= 90*24) {
		return "", &assay.Error{Code: assay.CodeInvalid, Field: "hours", Msg: "is not a number above 0 and up to 2160", Hint: "an exception needs an end, at most 90 days ahead"}
	}
	req := api.ExceptionRequest{
		Scope: assay.ExceptionScope{
			Rules: words(v.r.PostFormValue("rules")), Environments: words(v.r.PostFormValue("environments")),
			Packages: words(v.r.PostFormValue("packages")), Advisories: words(v.r.PostFormValue("advisories")),
		},
		Reason:   strings.TrimSpace(v.r.PostFormValue("reason")),
		Ticket:   strings.TrimSpace(v.r.PostFormValue("ticket")),
		NotAfter: v.Now.Add(time.Duration(hours * float64(time.Hour))),
	}
	for _, w := range words(v.r.PostFormValue("subjects")) {
		d, err := assay.ParseDigest(w)
		if err != nil {
			return "", err
		}
		req.Scope.Subjects = append(req.Scope.Subjects, d)
	}
	e, err := v.s.RequestException(v.ctx, req)
	return "/exceptions#e-" + e.ID, err
}

// words splits a list that a person typed.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
}

func approveException(v *view) (string, error) {
	e, err := v.s.ApproveException(v.ctx, v.r.PathValue("id"))
	return "/exceptions#e-" + e.ID, err
}

// revokeException ends an exception, or denies one that nobody approved.
func revokeException(v *view) (string, error) {
	e, err := v.s.RevokeException(v.ctx, v.r.PathValue("id"), strings.TrimSpace(v.r.PostFormValue("reason")))
	return "/exceptions#e-" + e.ID, err
}

// orderModel tells a model what the form says.
func (v *view) orderModel(do func(context.Context, api.ModelOrder) (api.Model, error)) (string, error) {
	o := api.ModelOrder{Model: v.r.PostFormValue("model"), To: v.r.PostFormValue("to"), Reason: strings.TrimSpace(v.r.PostFormValue("reason"))}
	m, err := do(v.ctx, o)
	return "/models/" + m.Name, err
}
