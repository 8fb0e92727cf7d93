package faas

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Paths and headers of the Runtime API, as
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html has them.
const (
	apiPath         = "/2018-06-01/runtime/"
	headerRequest   = "Lambda-Runtime-Aws-Request-Id"
	headerDeadline  = "Lambda-Runtime-Deadline-Ms"
	headerARN       = "Lambda-Runtime-Invoked-Function-Arn"
	headerTrace     = "Lambda-Runtime-Trace-Id"
	headerErrorType = "Lambda-Runtime-Function-Error-Type"
)

// maxPayload bounds an answer of a function, as on the platform: 6 MB.
const maxPayload = 6 << 20

// invocation is one run of the function. Its fields belong to the platform's lock until
// done is closed.
type invocation struct {
	id      string
	payload []byte
	cold    bool // it waits for an instance to start
	done    chan struct{}

	handed, finished time.Time // zero before
	timer            *time.Timer
	answered         bool
	answer           []byte
	err              error
}

// instance is a process that has the function, and its endpoint.
type instance struct {
	p        *Platform
	name     string
	endpoint string // host:port
	began    time.Time
	srv      *http.Server
	work     chan *invocation
	stopped  chan struct{} // closed when it is out of the platform

	// with the platform's lock
	ready  bool           // it asked for an invocation
	failed *FunctionError // that it says it cannot begin for
	inv    *invocation    // that it has, nil if it is free
	idle   *time.Timer

	process sync.Mutex // guards proc, and that it is started and ended once
	proc    Process
	over    bool
}

// environment is what a function reads of where it runs.
func (i *instance) environment() []string {
	return []string{
		"AWS_LAMBDA_RUNTIME_API=" + i.endpoint,
		"AWS_LAMBDA_FUNCTION_NAME=" + i.p.cfg.Function,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_STREAM_NAME=" + i.name,
	}
}

// boot starts the instance's process, and watches it.
func (i *instance) boot() {
	i.process.Lock()
	if i.over {
		i.process.Unlock()
		return
	}
	proc, err := i.p.cfg.Start(i.name, i.environment())
	i.proc = proc
	i.process.Unlock()
	if err != nil {
		i.p.end(i, &FunctionError{Type: "Runtime.InvalidEntrypoint", Message: err.Error()}, false, nil)
		return
	}
	go func() {
		<-proc.Ended()
		i.p.end(i, &FunctionError{Type: "Runtime.ExitError", Message: "instance " + i.name + " ended before it answered"}, true, nil)
	}()
	time.AfterFunc(i.p.cfg.Init, func() {
		i.p.end(i, &FunctionError{Type: "Sandbox.Timedout", Message: fmt.Sprintf("instance %s asked for nothing within %s", i.name, i.p.cfg.Init)},
			false, func() bool { return !i.ready })
	})
}

// stop ends the process and the endpoint of an instance that is out of the platform.
func (i *instance) stop() {
	i.process.Lock()
	defer i.process.Unlock()
	if i.over {
		return
	}
	i.over = true
	if i.proc != nil {
		i.proc.Kill()
	}
	_ = i.srv.Close() // nobody is left to talk to
}

// api is the instance's endpoint.
func (i *instance) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+apiPath+"invocation/next", i.next)
	mux.HandleFunc("POST "+apiPath+"invocation/{id}/response", i.response)
	mux.HandleFunc("POST "+apiPath+"invocation/{id}/error", i.failure)
	mux.HandleFunc("POST "+apiPath+"init/error", i.initError)
	return mux
}

// next completes the invocation before, and waits for another one.
func (i *instance) next(w http.ResponseWriter, r *http.Request) {
	if surplus, err := i.ask(); err != nil {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", err.Error())
		return
	} else if surplus {
		i.p.end(i, nil, false, nil)
		return
	}
	select {
	case inv := <-i.work:
		deadline, ok := i.hand(inv)
		if !ok {
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set(headerRequest, inv.id)
		h.Set(headerDeadline, strconv.FormatInt(deadline.UnixMilli(), 10))
		h.Set(headerARN, "arn:aws:lambda:local:000000000000:function:"+i.p.cfg.Function)
		h.Set(headerTrace, fmt.Sprintf("Root=1-%08x-%.24s;Sampled=0", time.Now().Unix(), traceOf(inv.id)))
		_, _ = w.Write(inv.payload) // who is gone does not answer, and its end is seen
	case <-r.Context().Done():
	case <-i.stopped:
	}
}

// traceOf are 24 digits of an invocation's name.
func traceOf(id string) string {
	out := make([]byte, 0, 32)
	for _, c := range []byte(id) {
		if c != '-' {
			out = append(out, c)
		}
	}
	return string(out)
}

// ask notes that the instance has nothing to do; surplus if it is one too many.
func (i *instance) ask() (surplus bool, err error) {
	p := i.p
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case p.instances[i.name] != i:
		return false, errors.New("the instance is being ended")
	case !i.ready:
		i.ready = true
		p.stats.Init.Observe(now.Sub(i.began))
		return false, nil
	case i.inv == nil || i.inv.handed.IsZero():
		return false, nil // it asks again, its connection broke
	case !i.inv.answered:
		return false, errors.New("the invocation before has no answer yet")
	}
	i.inv.finished = now
	p.complete(i)
	if len(p.instances) > p.reserved {
		return true, nil
	}
	p.free = append(p.free, i)
	i.idle = time.AfterFunc(p.cfg.Idle, func() { p.end(i, nil, false, func() bool { return i.inv == nil }) })
	return false, nil
}

// hand gives an invocation to the instance, false if it ended meanwhile.
func (i *instance) hand(inv *invocation) (deadline time.Time, ok bool) {
	p := i.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if i.inv != inv {
		return deadline, false
	}
	inv.handed = time.Now()
	inv.timer = time.AfterFunc(p.cfg.Limit, func() {
		p.end(i, &FunctionError{Type: "Sandbox.Timedout", Message: fmt.Sprintf("%s took longer than %s", inv.id, p.cfg.Limit)},
			false, func() bool { return i.inv == inv && !inv.answered })
	})
	return inv.handed.Add(p.cfg.Limit), true
}

// response takes an answer. What a function notices only while it writes one it says in a trailer.
func (i *instance) response(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		i.answered(w, r, nil, &FunctionError{Type: "Function.ResponseSizeTooLarge", Message: fmt.Sprintf("the answer has more than %d bytes", maxPayload)}, http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		return // it is gone
	}
	if kind := r.Trailer.Get(headerErrorType); kind != "" {
		i.answered(w, r, nil, &FunctionError{Type: kind, Message: "the answer broke off"}, http.StatusAccepted)
		return
	}
	i.answered(w, r, body, nil, http.StatusAccepted)
}

func (i *instance) failure(w http.ResponseWriter, r *http.Request) {
	i.answered(w, r, nil, errorOf(r), http.StatusAccepted)
}

// errorOf is what a function says went wrong.
func errorOf(r *http.Request) *FunctionError {
	var said struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, maxPayload))
	if err != nil || json.Unmarshal(data, &said) != nil || said.Type == "" {
		said.Type = "Function.Unknown"
	}
	if kind := r.Header.Get(headerErrorType); kind != "" {
		said.Type = kind
	}
	return &FunctionError{Type: said.Type, Message: said.Message}
}

// answered notes what came of the invocation that the path names.
func (i *instance) answered(w http.ResponseWriter, r *http.Request, answer []byte, failed error, status int) {
	p, id := i.p, r.PathValue("id")
	p.mu.Lock()
	inv := i.inv
	mine := inv != nil && inv.id == id && !inv.handed.IsZero() && !inv.answered
	if mine {
		inv.answered, inv.answer, inv.err = true, answer, failed
	}
	p.mu.Unlock()
	if !mine {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "the instance does not work on "+strconv.Quote(id))
		return
	}
	tell(w, status, map[string]string{"status": "OK"})
}

// initError is what an instance says that cannot begin. It is to end then; one that does
// not is ended when its time to begin is over.
func (i *instance) initError(w http.ResponseWriter, r *http.Request) {
	failed := errorOf(r)
	i.p.mu.Lock()
	ready := i.ready
	if !ready {
		i.failed = failed
	}
	i.p.mu.Unlock()
	if ready {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the instance has begun already")
		return
	}
	tell(w, http.StatusAccepted, map[string]string{"status": "OK"})
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	tell(w, status, map[string]string{"errorType": kind, "errorMessage": message})
}

func tell(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document) // who is gone needs no answer
}
