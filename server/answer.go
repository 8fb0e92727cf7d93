package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/internal/strict"
)

// handler answers a request of an authenticated caller with a value or an error.
type handler func(s *control.Session, r *http.Request) (any, error)

// raw is an answer that is not JSON made by us.
type raw struct {
	contentType string
	body        []byte
}

func (s *server) authenticated(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := s.cfg.Plane.Authenticate(r.Context(), bearer(r))
		if err != nil {
			s.fail(w, r, "", err)
			return
		}
		if slices.Contains(slowRoutes, r.Pattern) {
			allowTime(w, uploadTime)
		}
		answer, err := h(s.cfg.Plane.As(caller), r)
		if err != nil {
			s.fail(w, r, caller.Name, err)
			return
		}
		switch a := answer.(type) {
		case raw:
			w.Header().Set("Content-Type", a.contentType)
			_, _ = w.Write(a.body) // the client is gone if this fails
		default:
			writeJSON(w, http.StatusOK, "application/json", a)
		}
	})
}

// bearer returns the request's bearer token, "" if it has none. The scheme is
// mandatory and, as in RFC 9110, may be written in any case.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// fail answers with err, and logs what the answer does not tell.
func (s *server) fail(w http.ResponseWriter, r *http.Request, caller string, err error) {
	switch {
	case assay.CodeOf(err) != assay.CodeInternal:
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded): // its time is over, or its sender is gone
		s.cfg.Log.Warn("request was not finished", "route", r.Pattern, "caller", caller, "error", err)
		err = assay.Errorf(assay.CodeUnavailable, "the request was not finished in its time; what it changes may be done or not")
	default:
		s.cfg.Log.Error("request failed", "route", r.Pattern, "caller", caller, "error", err)
	}
	writeProblem(w, err)
}

// body decodes a JSON request body into v, strictly and bounded.
func body(r *http.Request, v any) error {
	ct := r.Header.Get("Content-Type")
	if kind, _, err := mime.ParseMediaType(ct); err != nil || kind != "application/json" {
		return assay.Errorf(assay.CodeInvalid, "Content-Type is %q; expected application/json", ct)
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, api.MaxBody+1))
	if err != nil {
		return assay.Errorf(assay.CodeInvalid, "the request body broke off: %w", err)
	}
	if len(data) > api.MaxBody {
		return assay.Errorf(assay.CodeTooLarge, "the request body is larger than %d bytes", api.MaxBody)
	}
	return strict.JSON(data, v)
}

var statusOf = map[assay.Code]int{
	assay.CodeInvalid:         http.StatusBadRequest,
	assay.CodeTooLarge:        http.StatusRequestEntityTooLarge,
	assay.CodeNotFound:        http.StatusNotFound,
	assay.CodeConflict:        http.StatusConflict,
	assay.CodeUnauthenticated: http.StatusUnauthorized,
	assay.CodeDenied:          http.StatusForbidden,
	assay.CodeUnverified:      http.StatusUnprocessableEntity,
	assay.CodeUnavailable:     http.StatusServiceUnavailable,
}

func writeProblem(w http.ResponseWriter, err error) {
	code := assay.CodeOf(err)
	status, known := statusOf[code]
	detail := err.Error()
	if !known {
		// What went wrong inside is for the log, not for the network.
		status, code, detail = http.StatusInternalServerError, assay.CodeInternal, "internal error; the server's log has it"
	}
	if code == assay.CodeUnauthenticated {
		w.Header().Set("WWW-Authenticate", `Bearer realm="assay"`)
	}
	p := api.Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
	if e, ok := errors.AsType[*assay.Error](err); ok && known && strings.HasPrefix(detail, e.Field+" ") {
		p.Field = e.Field
	}
	writeJSON(w, status, problemType, p)
}

// problemType is the media type of what is wrong, RFC 9457.
const problemType = "application/problem+json"

func writeProblemStatus(w http.ResponseWriter, status int, code assay.Code, detail string) {
	writeJSON(w, status, problemType, api.Problem{Title: http.StatusText(status), Status: status, Code: code, Detail: detail})
}

// unrouted answers what no route takes: 405 if another method would be taken, else 404.
func unrouted(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
			other := r.Clone(r.Context())
			other.Method = m
			if _, pattern := mux.Handler(other); pattern != apiRoot {
				allowed = append(allowed, m)
			}
		}
		if len(allowed) == 0 {
			writeProblem(w, assay.Errorf(assay.CodeNotFound, "no such resource: %s", r.URL.Path))
			return
		}
		allow := strings.Join(allowed, ", ")
		w.Header().Set("Allow", allow)
		writeProblemStatus(w, http.StatusMethodNotAllowed, assay.CodeInvalid,
			fmt.Sprintf("%s cannot be used with %s; allowed: %s", r.URL.Path, r.Method, allow))
	}
}

func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // the client is gone if this fails
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the client is gone if this fails
}
