package faas

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// order is what the function of these tests is told to do.
type order struct {
	Do string `json:"do"`
}

// told is what it answers.
type told struct {
	Instance string    `json:"instance"`
	Request  string    `json:"request"`
	ARN      string    `json:"arn"`
	Deadline time.Time `json:"deadline"`
}

// work is a function as anybody writes one for AWS Lambda, with the module of AWS.
func work(ctx context.Context, o order) (told, error) {
	switch o.Do {
	case "fail":
		return told{}, errors.New("the order is wrong")
	case "panic":
		panic("the function is wrong")
	case "die":
		os.Exit(3)
	case "hang":
		<-make(chan struct{})
	}
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	return told{lambdacontext.LogStreamName, lc.AwsRequestID, lc.InvokedFunctionArn, deadline}, nil
}

// TestMain makes this program the function when a platform started it.
func TestMain(m *testing.M) {
	api := os.Getenv("AWS_LAMBDA_RUNTIME_API")
	switch mode := os.Getenv("FAAS_TEST"); {
	case api == "":
		os.Exit(m.Run())
	case mode == "cannot":
		res, err := http.Post("http://"+api+apiPath+"init/error", "application/json", strings.NewReader(`{"errorType":"Function.NoConfig","errorMessage":"there is no configuration"}`))
		if err != nil || res.StatusCode != http.StatusAccepted {
			fmt.Fprintln(os.Stderr, res, err)
		}
		os.Exit(1)
	case mode == "asleep":
		told := make(chan os.Signal, 1) // another channel is a deadlock in a program without cgo
		signal.Notify(told, os.Interrupt)
		<-told
	default:
		lambda.Start(work)
	}
}

// process is a child of these tests.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func (p *process) Kill()                  { _ = p.cmd.Process.Kill(); <-p.ended }
func (p *process) Ended() <-chan struct{} { return p.ended }

// children are what a platform of these tests started, by instance.
type children struct {
	mu   sync.Mutex
	list map[string]*process
}

func (c *children) of(instance string) *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list[instance]
}

// platform runs this program as its function.
func platform(t *testing.T, c Config, environment ...string) (*Platform, *children) {
	t.Helper()
	kids := &children{list: map[string]*process{}}
	c.Function = "work"
	c.Init, c.Limit = max(c.Init, 10*time.Millisecond), max(c.Limit, 10*time.Millisecond)
	c.Start = func(instance string, env []string) (Process, error) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(append(os.Environ(), env...), environment...)
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		p := &process{cmd, make(chan struct{})}
		go func() { _ = cmd.Wait(); close(p.ended) }()
		kids.mu.Lock()
		defer kids.mu.Unlock()
		kids.list[instance] = p
		return p, nil
	}
	p := New(c)
	t.Cleanup(p.Close)
	return p, kids
}

// patient is a platform whose limits nothing meets.
var patient = Config{Init: time.Minute, Limit: time.Minute, Idle: time.Hour}

func invoke(t *testing.T, p *Platform, do string) (out told, err error) {
	t.Helper()
	payload, err := json.Marshal(order{do})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := p.Invoke(t.Context(), payload)
	if err == nil {
		err = json.Unmarshal(answer, &out)
	}
	return out, err
}

// until waits for something that processes do.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestAFunctionWrittenForLambdaRunsHereAndItsFirstInvocationIsCold(t *testing.T) {
	p, _ := platform(t, patient)
	p.Reserve(1)
	began := time.Now()
	first, err := invoke(t, p, "")
	if err != nil {
		t.Fatal(err)
	}
	second, err := invoke(t, p, "")
	if err != nil {
		t.Fatal(err)
	}
	if first.Instance != "work-1" || second.Instance != "work-1" || first.Request == second.Request || len(first.Request) != 36 {
		t.Errorf("%+v and then %+v", first, second)
	}
	if !strings.HasSuffix(first.ARN, ":function:work") || first.Deadline.Before(began.Add(patient.Limit-time.Second)) || first.Deadline.After(time.Now().Add(patient.Limit)) {
		t.Errorf("%+v", first)
	}
	s := p.Stats()
	if s.Invocations != 2 || s.ColdStarts != 1 || s.Started != 1 || s.Instances != 1 || s.Errors+s.Crashes+s.Throttled != 0 {
		t.Errorf("%+v", s)
	}
	if s.Init.Count() != 1 || s.Init.Sum <= 0 || s.Init.Sum > time.Since(began).Seconds() || s.Duration.Count() != 2 {
		t.Errorf("initialised %d times in %v s, ran %d times", s.Init.Count(), s.Init.Sum, s.Duration.Count())
	}
}

func TestEachInstanceWorksOnOneInvocationAndThereAreNoMoreThanReserved(t *testing.T) {
	p, kids := platform(t, patient)
	p.Reserve(2)
	var group sync.WaitGroup
	defer group.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2 {
		group.Go(func() {
			if _, err := p.Invoke(ctx, []byte(`{"do":"hang"}`)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	until(t, "two instances work", func() bool { return len(p.Working()) == 2 })
	if _, err := invoke(t, p, ""); !errors.Is(err, ErrThrottled) {
		t.Errorf("a third one: %v", err)
	}
	p.Reserve(3)
	if got, err := invoke(t, p, ""); err != nil || got.Instance != "work-3" {
		t.Errorf("%+v, %v", got, err)
	}
	p.Reserve(2) // the one that is free goes, and the others work on
	if s := p.Stats(); s.Instances != 2 || s.Throttled != 1 || s.Started != 3 || len(p.Working()) != 2 {
		t.Errorf("%+v", s)
	}
	<-kids.of("work-3").ended
}

func TestAnInstanceThatIsOneTooManyEndsWhenItIsDone(t *testing.T) {
	p, kids := platform(t, patient)
	p.Reserve(1)
	if _, err := invoke(t, p, ""); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.reserved = 0 // between its being chosen and its end
	p.mu.Unlock()
	if _, err := invoke(t, p, ""); err != nil {
		t.Fatal(err)
	}
	<-kids.of("work-1").ended
	if s := p.Stats(); s.Instances != 0 || s.Invocations != 2 || s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnIdleInstanceIsEndedAndTheNextInvocationIsColdAgain(t *testing.T) {
	c := patient
	c.Idle = 20 * time.Millisecond
	p, kids := platform(t, c)
	p.Reserve(1)
	if _, err := invoke(t, p, ""); err != nil {
		t.Fatal(err)
	}
	until(t, "it is ended", func() bool { return p.Stats().Instances == 0 })
	<-kids.of("work-1").ended
	if got, err := invoke(t, p, ""); err != nil || got.Instance != "work-2" {
		t.Errorf("%+v, %v", got, err)
	}
	if s := p.Stats(); s.ColdStarts != 2 || s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWhatAFunctionSaysIsWrongIsToldAndOnlyAPanicEndsIt(t *testing.T) {
	p, _ := platform(t, patient)
	p.Reserve(1)
	var failed *FunctionError
	if _, err := invoke(t, p, "fail"); !errors.As(err, &failed) || failed.Type != "errorString" || failed.Message != "the order is wrong" {
		t.Errorf("%+v", err)
	}
	if got, err := invoke(t, p, ""); err != nil || got.Instance != "work-1" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := invoke(t, p, "panic"); !errors.As(err, &failed) || failed.Message != "the function is wrong" {
		t.Errorf("%+v", err)
	}
	if got, err := invoke(t, p, ""); err != nil || got.Instance != "work-2" {
		t.Errorf("%+v, %v", got, err)
	}
	if s := p.Stats(); s.Errors != 2 || s.Invocations != 2 || s.Crashes != 1 || s.ColdStarts != 2 {
		t.Errorf("%+v", s)
	}
}

func TestAnInvocationWhoseInstanceEndedFailsAtOnce(t *testing.T) {
	p, kids := platform(t, patient)
	p.Reserve(1)
	var failed *FunctionError
	if _, err := invoke(t, p, "die"); !errors.As(err, &failed) || failed.Type != "Runtime.ExitError" {
		t.Errorf("%+v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := p.Invoke(t.Context(), []byte(`{"do":"hang"}`))
		done <- err
	}()
	until(t, "it works", func() bool { return string(p.Working()["work-2"]) == `{"do":"hang"}` })
	_ = kids.of("work-2").cmd.Process.Kill()
	if err := <-done; !errors.As(err, &failed) || failed.Type != "Runtime.ExitError" {
		t.Errorf("killed: %+v", err)
	}
	if s := p.Stats(); s.Crashes != 2 || s.Instances != 0 || s.Errors != 2 {
		t.Errorf("%+v", s)
	}
}

func TestAnInvocationThatTakesTooLongIsEndedWithItsInstance(t *testing.T) {
	c := patient
	c.Limit = 50 * time.Millisecond
	p, kids := platform(t, c)
	p.Reserve(1)
	var failed *FunctionError
	if _, err := invoke(t, p, "hang"); !errors.As(err, &failed) || failed.Type != "Sandbox.Timedout" {
		t.Errorf("%+v", err)
	}
	<-kids.of("work-1").ended
	if s := p.Stats(); s.Instances != 0 || s.Errors != 1 || s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnInstanceThatCannotBeginFailsTheInvocationThatWaitsForIt(t *testing.T) {
	var failed *FunctionError
	p, _ := platform(t, patient, "FAAS_TEST=cannot")
	p.Reserve(1)
	if _, err := invoke(t, p, ""); !errors.As(err, &failed) || failed.Type != "Function.NoConfig" || failed.Message != "there is no configuration" {
		t.Errorf("%+v", err)
	}
	c := patient
	c.Init = 50 * time.Millisecond
	p, kids := platform(t, c, "FAAS_TEST=asleep")
	p.Reserve(1)
	if _, err := invoke(t, p, ""); !errors.As(err, &failed) || failed.Type != "Sandbox.Timedout" {
		t.Errorf("%+v", err)
	}
	<-kids.of("work-1").ended
	none := New(Config{Function: "none", Init: time.Minute, Start: func(string, []string) (Process, error) { return nil, errors.New("there is no such program") }})
	defer none.Close()
	none.Reserve(1)
	if _, err := none.Invoke(t.Context(), nil); !errors.As(err, &failed) || failed.Type != "Runtime.InvalidEntrypoint" || none.Stats().Instances != 0 {
		t.Errorf("%+v", err)
	}
}

func TestAPlatformThatIsClosedLeavesNoProcessAndTakesNothing(t *testing.T) {
	p, kids := platform(t, patient)
	p.Reserve(1)
	done := make(chan error, 1)
	go func() {
		_, err := p.Invoke(t.Context(), []byte(`{"do":"hang"}`))
		done <- err
	}()
	until(t, "it works", func() bool { return len(p.Working()) == 1 })
	p.Close()
	<-kids.of("work-1").ended
	if err := <-done; err == nil || errors.Is(err, ErrThrottled) {
		t.Error(err)
	}
	if _, err := invoke(t, p, ""); err == nil || errors.Is(err, ErrThrottled) {
		t.Error(err)
	}
}

// hand speaks the API itself, past AWS's module, to say what that never says.
type hand struct {
	t        *testing.T
	endpoint string
}

func (h hand) ask(method, path, body string) (int, http.Header, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+h.endpoint+apiPath+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	data, _ := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, string(data)
}

// quiet is a process that does nothing: the test itself is the function.
type quiet struct {
	once  sync.Once
	ended chan struct{}
}

func (q *quiet) Kill()                  { q.once.Do(func() { close(q.ended) }) }
func (q *quiet) Ended() <-chan struct{} { return q.ended }

func TestTheRuntimeAPIRefusesWhatIsOutOfOrder(t *testing.T) {
	endpoint := make(chan string, 1)
	c := patient
	c.Function = "hand"
	c.Start = func(_ string, env []string) (Process, error) {
		endpoint <- strings.TrimPrefix(env[0], "AWS_LAMBDA_RUNTIME_API=")
		return &quiet{ended: make(chan struct{})}, nil
	}
	p := New(c)
	defer p.Close()
	p.Reserve(1)
	results := make(chan string, 4)
	run := func() {
		answer, err := p.Invoke(t.Context(), []byte(`{"n":1}`))
		results <- fmt.Sprintf("%s %v", answer, err)
	}
	go run()
	h := hand{t, <-endpoint}
	if code, _, _ := h.ask("POST", "invocation/none/response", "{}"); code != http.StatusBadRequest {
		t.Errorf("an answer to nothing: %d", code)
	}
	code, head, payload := h.ask("GET", "invocation/next", "")
	id := head.Get(headerRequest)
	if code != http.StatusOK || payload != `{"n":1}` || id == "" || head.Get(headerDeadline) == "" || !strings.HasPrefix(head.Get(headerTrace), "Root=1-") {
		t.Fatalf("%d %v %s", code, head, payload)
	}
	if code, _, said := h.ask("GET", "invocation/next", ""); code != http.StatusForbidden || !strings.Contains(said, "InvalidStateTransition") {
		t.Errorf("next without an answer: %d %s", code, said)
	}
	if code, _, said := h.ask("POST", "init/error", "{}"); code != http.StatusForbidden {
		t.Errorf("an error of what began: %d %s", code, said)
	}
	if code, _, said := h.ask("POST", "invocation/"+id+"/response", "42"); code != http.StatusAccepted || !strings.Contains(said, "OK") {
		t.Errorf("the answer: %d %s", code, said)
	}
	if code, _, said := h.ask("POST", "invocation/"+id+"/error", "{}"); code != http.StatusBadRequest || !strings.Contains(said, "InvalidRequestID") {
		t.Errorf("a second answer: %d %s", code, said)
	}
	select {
	case r := <-results:
		t.Fatalf("it is complete before the function asks for more: %s", r)
	default:
	}
	next := make(chan string, 1)
	go func() {
		_, head, _ := h.ask("GET", "invocation/next", "")
		next <- head.Get(headerRequest)
	}()
	if r := <-results; r != "42 <nil>" {
		t.Error(r)
	}
	go run()
	id = <-next
	if code, _, _ := h.ask("POST", "invocation/"+id+"/response", string(bytes.Repeat([]byte("x"), maxPayload+1))); code != http.StatusRequestEntityTooLarge {
		t.Errorf("an answer that is too large: %d", code)
	}
	go func() { // no answer comes: the platform is closed meanwhile
		if res, err := http.Get("http://" + h.endpoint + apiPath + "invocation/next"); err == nil {
			_ = res.Body.Close()
		}
	}()
	if r := <-results; !strings.Contains(r, "Function.ResponseSizeTooLarge") {
		t.Error(r)
	}
}

func TestAHistogramCountsUpToAndWithItsBounds(t *testing.T) {
	h := NewHistogram()
	for _, d := range []time.Duration{0, 5 * time.Millisecond, 6 * time.Millisecond, time.Minute} {
		h.Observe(d)
	}
	copied := h.Clone()
	h.Observe(0)
	if copied.Counts[0] != 2 || copied.Counts[1] != 1 || copied.Counts[len(bounds)] != 1 || copied.Count() != 4 || copied.Max != 60 || copied.Mean() < 15 {
		t.Errorf("%+v", copied)
	}
}
