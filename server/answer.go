package server

import (
	"encoding/json"
	"io"
	"net/http"
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
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		caller, err := s.cfg.Plane.Authenticate(r.Context(), bearer)
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="assay"`)
			writeProblem(w, r, err)
			return
		}
		if r.Pattern == uploadRoute {
			allowTime(w, uploadTime)
		}
		answer, err := h(s.cfg.Plane.As(caller), r)
		if err != nil {
			if assay.CodeOf(err) == assay.CodeInternal {
				s.cfg.Log.Error("request failed", "route", r.Pattern, "caller", caller.Name, "error", err)
			}
			writeProblem(w, r, err)
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

// body decodes a JSON request body into v, strictly and bounded.
func body(r *http.Request, v any) error {
	if ct := r.Header.Get("Content-Type"); ct != "application/json" && !strings.HasPrefix(ct, "application/json;") {
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

func writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	code := assay.CodeOf(err)
	status, known := statusOf[code]
	detail := err.Error()
	switch {
	case r.Context().Err() != nil:
		return // nobody is listening
	case !known:
		// What went wrong inside is for the log, not for the network.
		status, code, detail = http.StatusInternalServerError, assay.CodeInternal, "internal error; the server's log has it"
	}
	writeJSON(w, status, "application/problem+json", api.Problem{
		Title: http.StatusText(status), Status: status, Code: code, Detail: detail,
	})
}

func notFound(r *http.Request) error {
	return assay.Errorf(assay.CodeNotFound, "no such resource: %s %s", r.Method, r.URL.Path)
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
