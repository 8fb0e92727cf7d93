package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
)

// view is one look at a page: who looks, when, and at what.
type view struct {
	ui     *ui
	r      *http.Request
	ctx    context.Context
	s      *control.Session
	caller control.Caller
	// SignedIn says that a token was shown; without one the caller is Anonymous.
	SignedIn bool
	Now      time.Time
}

// Name is who looks, "" for somebody without a token.
func (v *view) Name() string {
	if !v.SignedIn {
		return ""
	}
	return v.caller.Name
}

// Namespace is the one namespace that the caller sees.
func (v *view) Namespace() string { return v.caller.Namespace }

// Path is the page's own address, for forms that lead back to it.
func (v *view) Path() string { return v.r.URL.RequestURI() }

// Can reports whether the caller holds one of the roles.
func (v *view) Can(roles ...string) bool {
	return slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(v.caller.Roles, api.Role(r)) })
}

// page is a title and its parts, in order.
type page struct {
	Title  string
	Nav    string // the entry of the navigation that it belongs to
	Status int    // default 200
	Parts  []part
	err    error
}

// part is one element of a page. HTML is the output of a template.
type part struct {
	ID    string
	Class string // how much room it takes: "" is all, "wide" and "narrow", "left" and "right" stand beside each other
	HTML  template.HTML
}

// column is a run of parts that stand below each other.
type column struct {
	Class string
	Parts []part
}

// Columns groups the parts: neighbours of one width form a column, so that a short
// part leaves no hole beside a tall one. A part that takes all the room stands by itself.
func (p page) Columns() []column {
	var out []column
	for _, q := range p.Parts {
		if n := len(out); n > 0 && out[n-1].Class == q.Class && q.Class != "" {
			out[n-1].Parts = append(out[n-1].Parts, q)
			continue
		}
		out = append(out, column{q.Class, []part{q}})
	}
	return out
}

// shown is what a part's template sees.
type shown struct {
	*view
	D any
}

// add renders a part. A template that fails makes the page fail.
func (p *page) add(v *view, id, class, name string, data any) {
	var b bytes.Buffer
	if err := v.ui.templates.ExecuteTemplate(&b, name, shown{v, data}); err != nil {
		p.err = errors.Join(p.err, assay.Errorf(assay.CodeInternal, "part %s: %w", id, err))
		return
	}
	p.Parts = append(p.Parts, part{ID: id, Class: class, HTML: template.HTML(b.String())}) // html/template made it
}

// trouble is an error as a page says it: what is the matter, and what to do.
type trouble struct {
	Sentence, Hint string
	Absent         bool // there is none of it yet, which is nobody's fault
}

// troubleOf is nil for nil. What went wrong inside is not told: the log has it.
func troubleOf(err error) *trouble {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*assay.Error](err)
	if !ok || e.Code == assay.CodeInternal {
		return &trouble{Sentence: "Something went wrong inside.", Hint: "the server's log has it; try again"}
	}
	said := *e
	said.Hint = ""
	t := &trouble{Sentence: sentence(said.Error()), Hint: e.Hint, Absent: e.Code == assay.CodeNotFound || e.Code == assay.CodeUnavailable}
	if t.Hint == "" {
		t.Hint = map[assay.Code]string{
			assay.CodeNotFound:    "search for it by name, or by the beginning of its id",
			assay.CodeUnavailable: "try again in a moment",
			assay.CodeDenied:      "sign in with a token that has this role",
			assay.CodeConflict:    "reload the page: somebody was faster",
			assay.CodeInvalid:     "change what you entered and send it again",
		}[e.Code]
	}
	return t
}

// sentence gives a message a capital letter and a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	_, first := utf8.DecodeRuneInString(s)
	s = strings.ToUpper(s[:first]) + s[first:]
	if strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

// builder makes a page.
type builder func(v *view) (page, error)

// page answers with what build makes. Below a stream, the page goes to the stream.
func (u *ui) page(build builder) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := u.look(r)
		if err != nil {
			if s := sinkOf(r); s != nil {
				s.err = err
				return
			}
			u.unidentified(w, r, err)
			return
		}
		p, err := build(v)
		err = errors.Join(err, p.err)
		if s := sinkOf(r); s != nil {
			s.page, s.err = p, err
			return
		}
		if err != nil {
			u.fail(w, r, v, err)
			return
		}
		u.write(w, v, p)
	})
}

// shell is what the frame around a page sees.
type shell struct {
	*view
	Page page
	Live bool
}

// write sends a page. It is rendered whole before the first byte leaves.
func (u *ui) write(w http.ResponseWriter, v *view, p page) {
	var b bytes.Buffer
	live := p.Status == 0 && v.r.Method == http.MethodGet
	if err := u.templates.ExecuteTemplate(&b, "shell", shell{v, p, live}); err != nil {
		u.cfg.Log.Error("page failed", "page", p.Title, "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(max(p.Status, http.StatusOK))
	_, _ = w.Write(b.Bytes()) // the client is gone if this fails
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

// failure is what the page of an error shows.
type failure struct {
	trouble
	Word string
	Back string
}

// fail answers with the page of an error. v may be nil.
func (u *ui) fail(w http.ResponseWriter, r *http.Request, v *view, err error) {
	status, known := statusOf[assay.CodeOf(err)]
	if !known {
		status = http.StatusInternalServerError
		if r.Context().Err() == nil {
			u.cfg.Log.Error("page failed", "path", r.URL.Path, "error", err)
		}
	}
	if v == nil {
		v = &view{ui: u, r: r, ctx: r.Context(), Now: u.cfg.Now()}
	}
	f := failure{trouble: *troubleOf(err), Word: http.StatusText(status), Back: "/"}
	if r.Method == http.MethodPost {
		if at := strings.LastIndexByte(r.URL.Path, '/'); at > 0 {
			f.Back = r.URL.Path[:at]
		}
	}
	p := page{Title: f.Word, Status: status}
	p.add(v, "failure", "", "failure", f)
	u.write(w, v, p)
}

// unknown is the page of an address that nothing has.
func unknown(v *view) (page, error) {
	return page{}, &assay.Error{
		Code: assay.CodeNotFound, Msg: fmt.Sprintf("there is no page %s", v.r.URL.Path),
		Hint: "go to the overview, or search with /",
	}
}

// change carries something out and says where to go then.
type change func(v *view) (next string, err error)

// change answers a form.
func (u *ui) change(do change) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := u.look(r)
		if err != nil {
			u.unidentified(w, r, err)
			return
		}
		if err := r.ParseForm(); err != nil {
			u.fail(w, r, v, assay.Errorf(assay.CodeInvalid, "the form cannot be read: %w", err))
			return
		}
		if !v.SignedIn {
			u.fail(w, r, v, &assay.Error{Code: assay.CodeUnauthenticated, Msg: "changing something needs a token", Hint: "sign in first"})
			return
		}
		next, err := do(v)
		if err != nil {
			u.fail(w, r, v, err)
			return
		}
		http.Redirect(w, r, next, http.StatusSeeOther)
	})
}
