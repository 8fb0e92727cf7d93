package kubernetes_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/act/acttest"
	"assay.dev/assay/act/kubernetes"
	"assay.dev/assay/internal/kube"
	"assay.dev/assay/internal/testenv"
)

// cluster is a namespace of a real API server.
type cluster struct {
	t         *testing.T
	api       *testenv.APIServer
	access    kube.Access
	namespace string
}

// do sends a request as an administrator, and expects it to be taken.
func (c cluster) do(method, path, kind, body string) []byte {
	c.t.Helper()
	a := c.api.Do(c.t, method, strings.ReplaceAll(path, "NS", "namespaces/"+c.namespace), kind, []byte(body))
	if a.Status/100 != 2 {
		c.t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
	}
	return a.Body
}

func (c cluster) create(path, body string) {
	c.t.Helper()
	c.do(http.MethodPost, path, "application/yaml", body)
}

func (c cluster) merge(path, body string) {
	c.t.Helper()
	c.do(http.MethodPatch, path, "application/merge-patch+json", body)
}

// field reads a number, a truth or a text of an object, by its path.
func (c cluster) field(path string, fields ...string) any {
	c.t.Helper()
	var v any
	if err := json.Unmarshal(c.do(http.MethodGet, path, "", ""), &v); err != nil {
		c.t.Fatal(err)
	}
	for _, f := range fields {
		m, _ := v.(map[string]any)
		v = m[f]
	}
	return v
}

func begin(t *testing.T, api *testenv.APIServer, namespace string) cluster {
	t.Helper()
	access, err := kube.Open(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster{t, api, access, namespace}
	c.do(http.MethodPost, "/api/v1/namespaces", "application/yaml", "metadata: {name: "+namespace+"}")
	return c
}

// pods is the template of all workloads here.
const pods = `{metadata: {labels: {app: a}}, spec: {restartPolicy: %s, containers: [{name: c, image: "registry.example/c:1"}]}}`

func (c cluster) deployment(name string, replicas int) {
	c.t.Helper()
	c.create("/apis/apps/v1/NS/deployments", fmt.Sprintf("metadata: {name: %s}\nspec: {replicas: %d, selector: {matchLabels: {app: a}}, template: "+pods+"}", name, replicas, "Always"))
}

func (c cluster) job(name string) {
	c.t.Helper()
	c.create("/apis/batch/v1/NS/jobs", fmt.Sprintf("metadata: {name: %s}\nspec: {template: "+pods+"}", name, "Never"))
}

func (c cluster) open(moves ...kubernetes.Move) *kubernetes.Client {
	c.t.Helper()
	d, err := kubernetes.New(kubernetes.Options{Access: c.access, Namespace: c.namespace, Moves: moves, Timeout: 10 * time.Second})
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

// shop is the Deployment of most tests, at rest.
var shop = kubernetes.Move{Service: acttest.Service, Lever: assay.LeverReplicas, Kind: kubernetes.Deployment, Name: "shop", Least: 1, Most: 40}

func scale(from, to float64, fence uint64, key string) assay.Action {
	return assay.Action{Kind: assay.ActionAdjust, Service: acttest.Service, Lever: assay.LeverReplicas, Now: from, Want: to, Fence: fence, Key: key}
}

func admit(from, to float64, key string) assay.Action {
	return assay.Action{Kind: assay.ActionStop, Service: acttest.Service, Lever: assay.LeverClass, Scope: "load-tests", Now: from, Want: to, Fence: 1, Key: key}
}

// One API server is enough for all: each test has a namespace of its own.
func TestWorkloadsOfARealClusterAreMoved(t *testing.T) {
	api := testenv.Kubernetes(t)
	for name, test := range map[string]func(*testing.T, *testenv.APIServer){
		"the contract of levers":                           contract,
		"replicas within the bounds of the file of doors":  replicas,
		"an autoscaler's least number, and not against it": autoscaled,
		"a job": job,
		"a CronJob with the Jobs that it has under way": cronJob,
		"once, if the answer is lost":                   lostAnswer,
		"with the Role of doors, and not without it":    role,
		"not on top of somebody else's record":          foreign,
	} {
		t.Run(name, func(t *testing.T) { test(t, api) })
	}
}

func contract(t *testing.T, api *testenv.APIServer) {
	n := atomic.Int32{}
	acttest.RunLevers(t, func(t *testing.T) acttest.LeverWorld {
		c := begin(t, api, fmt.Sprint("world-", n.Add(1)))
		c.deployment("shop", 3)
		return acttest.LeverWorld{
			Actuator: c.open(shop), Lever: assay.LeverReplicas, Rest: 3, Unknown: assay.LeverRetention,
			Reopen: func(*testing.T) act.Actuator { return c.open(shop) },
		}
	})
}

func replicas(t *testing.T, api *testenv.APIServer) {
	c := begin(t, api, "replicas")
	c.deployment("shop", 3)
	d := c.open(shop)
	r, err := d.Apply(t.Context(), scale(3, 8, 7, "k"))
	if err != nil || r.Stands != 8 || !r.Changed || r.Detail != "deployment/shop has 8 replicas" {
		t.Errorf("%+v, %v", r, err)
	}
	if got := c.field("/apis/apps/v1/NS/deployments/shop", "spec", "replicas"); got != 8.0 {
		t.Errorf("the Deployment has %v replicas", got)
	}
	if o, err := d.Observe(t.Context(), acttest.Service); err != nil || o.Generation != 7 {
		t.Errorf("%+v, %v: the owner is generation 7", o, err)
	}
	for _, want := range []float64{0, 41, 8.5} {
		if _, err := d.Apply(t.Context(), scale(8, want, 7, "bounds")); assay.CodeOf(err) != assay.CodeDenied || !strings.Contains(err.Error(), "1 to 40") {
			t.Errorf("to %v: %v; want the bounds of the file of doors", want, err)
		}
	}
}

func autoscaled(t *testing.T, api *testenv.APIServer) {
	c := begin(t, api, "autoscaled")
	c.deployment("shop", 3)
	c.create("/apis/autoscaling/v2/NS/horizontalpodautoscalers", "metadata: {name: auto}\nspec: {minReplicas: 2, maxReplicas: 12, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}}")
	_, err := c.open(shop).Apply(t.Context(), scale(3, 8, 1, "k"))
	if e, is := errors.AsType[*assay.Error](err); !is || e.Code != assay.CodeDenied || !strings.Contains(e.Hint, "horizontalPodAutoscaler: auto") {
		t.Errorf("%v; want it to name the autoscaler to declare", err)
	}
	auto := shop
	auto.Kind, auto.Name = kubernetes.Autoscaler, "auto"
	d := c.open(auto)
	if r, err := d.Apply(t.Context(), scale(2, 8, 1, "k")); err != nil || r.Stands != 8 || r.Detail != "horizontalPodAutoscaler/auto keeps at least 8 replicas" {
		t.Errorf("%+v, %v", r, err)
	}
	if got := c.field("/apis/autoscaling/v2/NS/horizontalpodautoscalers/auto", "spec", "minReplicas"); got != 8.0 {
		t.Errorf("it keeps %v", got)
	}
	if _, err := d.Apply(t.Context(), scale(8, 13, 1, "most")); assay.CodeOf(err) != assay.CodeDenied || !strings.Contains(err.Error(), "at most 12") {
		t.Errorf("%v; want its own maximum", err)
	}
}

func job(t *testing.T, api *testenv.APIServer) {
	c := begin(t, api, "job")
	c.job("load")
	d := c.open(kubernetes.Move{Service: acttest.Service, Lever: assay.LeverClass, Scope: "load-tests", Kind: kubernetes.Job, Name: "load"})
	if r, err := d.Apply(t.Context(), admit(100, 0, "stop")); err != nil || r.Detail != "job/load is suspended" {
		t.Errorf("%+v, %v", r, err)
	}
	if got := c.field("/apis/batch/v1/NS/jobs/load", "spec", "suspend"); got != true {
		t.Errorf("suspend is %v", got)
	}
	if _, err := d.Apply(t.Context(), admit(0, 50, "half")); assay.CodeOf(err) != assay.CodeDenied {
		t.Errorf("half a job: %v", err)
	}
	if r, err := d.Apply(t.Context(), admit(0, 100, "back")); err != nil || r.Detail != "job/load may run" {
		t.Errorf("%+v, %v", r, err)
	}
}

func cronJob(t *testing.T, api *testenv.APIServer) {
	c := begin(t, api, "cron")
	c.create("/apis/batch/v1/NS/cronjobs", fmt.Sprintf("metadata: {name: load}\nspec: {schedule: '* * * * *', jobTemplate: {spec: {template: "+pods+"}}}", "Never"))
	for _, name := range []string{"load-1", "load-2", "load-3", "other"} {
		c.job(name)
	}
	// There is no controller in this cluster: we say what it would. One Job has gone since.
	c.merge("/apis/batch/v1/NS/cronjobs/load/status", `{"status":{"active":[{"kind":"Job","name":"load-1"},{"kind":"Job","name":"load-2"},{"kind":"Job","name":"load-3"},{"kind":"Job","name":"gone"}]}}`)
	c.merge("/apis/batch/v1/NS/jobs/load-3", `{"spec":{"suspend":true}}`) // by somebody else
	suspended := func() string {
		var out []string
		for _, path := range []string{"cronjobs/load", "jobs/load-1", "jobs/load-2", "jobs/load-3", "jobs/other"} {
			if c.field("/apis/batch/v1/NS/"+path, "spec", "suspend") == true {
				out = append(out, path)
			}
		}
		return strings.Join(out, " ")
	}
	move := kubernetes.Move{Service: acttest.Service, Lever: assay.LeverClass, Scope: "load-tests", Kind: kubernetes.CronJob, Name: "load"}
	d := c.open(move)
	at := func() float64 {
		t.Helper()
		list, err := d.Levers(t.Context(), acttest.Service)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		return list[0].Value
	}
	if _, err := d.Apply(t.Context(), admit(100, 0, "stop")); err != nil {
		t.Fatal(err)
	}
	if got := suspended(); got != "cronjobs/load jobs/load-1 jobs/load-2 jobs/load-3" || at() != 0 {
		t.Errorf("stopped: %s, at %v", got, at())
	}

	c.merge("/apis/batch/v1/NS/jobs/load-2", `{"spec":{"suspend":false}}`) // as if the step had broken off before it
	if at() != 100 {
		t.Error("a CronJob with a Job that runs stands at 0")
	}
	if _, err := d.Apply(t.Context(), admit(100, 0, "stop")); err != nil {
		t.Fatal(err)
	}
	if got := suspended(); got != "cronjobs/load jobs/load-1 jobs/load-2 jobs/load-3" || at() != 0 {
		t.Errorf("its key was repeated: %s, at %v", got, at())
	}

	if _, err := d.Apply(t.Context(), admit(0, 100, "back")); err != nil {
		t.Fatal(err)
	}
	if got := suspended(); got != "jobs/load-3" || at() != 100 {
		t.Errorf("let run again: %s, at %v; somebody else suspended load-3", got, at())
	}
	if _, err := d.Apply(t.Context(), admit(100, 0, "stop")); err != nil || at() != 100 {
		t.Errorf("the key of an earlier step is repeated: %v, and it stands at %v", err, at())
	}
}

func lostAnswer(t *testing.T, api *testenv.APIServer) {
	c := begin(t, api, "lost")
	c.deployment("shop", 3)
	target, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward, patches := httputil.NewSingleHostReverseProxy(target), atomic.Int32{}
	forward.Transport = api.Client.Transport
	door := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch && patches.Add(1) == 1 {
			forward.ServeHTTP(httptest.NewRecorder(), r) // carried out, and nobody hears of it
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	defer door.Close()
	c.access = kube.Access{Server: door.URL, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: door.Certificate().Raw})}
	r, err := c.open(shop).Apply(t.Context(), scale(3, 8, 1, "k"))
	if err != nil || r.Stands != 8 || !r.Changed || patches.Load() != 1 {
		t.Errorf("%+v, %v after %d changes; want one", r, err, patches.Load())
	}
}

func role(t *testing.T, api *testenv.APIServer) {
	c := begin(t, api, "shop")
	c.deployment("shop", 3)
	c.do(http.MethodPost, "/api/v1/namespaces", "application/yaml", "metadata: {name: assay-system}")
	c.create("/api/v1/namespaces/assay-system/serviceaccounts", "metadata: {name: assay}")
	var request struct {
		Status struct {
			Token string `json:"token"`
		} `json:"status"`
	}
	if err := json.Unmarshal(c.do(http.MethodPost, "/api/v1/namespaces/assay-system/serviceaccounts/assay/token", "application/json", "{}"), &request); err != nil {
		t.Fatal(err)
	}
	c.access = kube.Access{Server: c.access.Server, CA: c.access.CA, Token: request.Status.Token}
	d := c.open(shop)
	_, err := d.Apply(t.Context(), scale(3, 8, 1, "k"))
	if e, is := errors.AsType[*assay.Error](err); !is || e.Code != assay.CodeDenied || !strings.Contains(e.Hint, "deploy/kubernetes/doors.yaml") {
		t.Errorf("without a Role: %v", err)
	}
	file, err := os.ReadFile("../../deploy/kubernetes/doors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	roles, binding, _ := strings.Cut(string(file), "\n---\n")
	c.create("/apis/rbac.authorization.k8s.io/v1/NS/roles", roles)
	c.create("/apis/rbac.authorization.k8s.io/v1/NS/rolebindings", binding)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	r, err := d.Apply(t.Context(), scale(3, 8, 1, "k"))
	for n := 0; assay.CodeOf(err) == assay.CodeDenied && n < 500; n++ { // the API server learns of a Role a moment later
		<-tick.C
		r, err = d.Apply(t.Context(), scale(3, 8, 1, "k"))
	}
	if err != nil || r.Stands != 8 {
		t.Errorf("with the Role: %+v, %v", r, err)
	}
}

func foreign(t *testing.T, api *testenv.APIServer) {
	c := begin(t, api, "foreign")
	c.deployment("shop", 3)
	c.merge("/apis/apps/v1/NS/deployments/shop", `{"metadata":{"annotations":{"assay.dev/lever":"mine"}}}`)
	_, err := c.open(shop).Apply(t.Context(), scale(3, 8, 1, "k"))
	if e, is := errors.AsType[*assay.Error](err); !is || e.Code != assay.CodeConflict || !strings.Contains(e.Error(), "deployment/shop") || !strings.Contains(e.Hint, "delete the annotation") {
		t.Errorf("%v", err)
	}
	if got := c.field("/apis/apps/v1/NS/deployments/shop", "spec", "replicas"); got != 3.0 {
		t.Errorf("it has %v replicas", got)
	}
}

func TestWhatIsDeclaredIsChecked(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*kubernetes.Options)
		field  string
	}{
		"no namespace":      {func(o *kubernetes.Options) { o.Namespace = "" }, "namespace"},
		"a path":            {func(o *kubernetes.Options) { o.Moves[0].Name = "../secrets/x" }, "deployment"},
		"nothing":           {func(o *kubernetes.Options) { o.Moves = nil }, "moves"},
		"no kind":           {func(o *kubernetes.Options) { o.Moves[0].Kind = "" }, ""},
		"no service":        {func(o *kubernetes.Options) { o.Moves[0].Service = "" }, "service"},
		"another lever":     {func(o *kubernetes.Options) { o.Moves[0].Lever = assay.LeverSpend }, "lever"},
		"no most":           {func(o *kubernetes.Options) { o.Moves[0].Most = 0 }, "most"},
		"a job in numbers":  {func(o *kubernetes.Options) { o.Moves[0].Kind = kubernetes.Job }, "lever"},
		"one object twice":  {func(o *kubernetes.Options) { o.Moves = append(o.Moves, o.Moves[0]); o.Moves[1].Scope = "eu" }, "deployment"},
		"one lever twice":   {func(o *kubernetes.Options) { o.Moves = append(o.Moves, o.Moves[0]); o.Moves[1].Name = "b" }, "scope"},
		"a timeout too far": {func(o *kubernetes.Options) { o.Timeout = time.Minute }, "timeout"},
	} {
		o := kubernetes.Options{Namespace: "shop", Moves: []kubernetes.Move{shop}}
		x.change(&o)
		if _, field, err := o.Check(); err == nil || field != x.field {
			t.Errorf("%s: field %q, %v; want %q", name, field, err, x.field)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(`{"fence":3,"done":[{"key":"k","now":1,"want":2,"changed":true,"time":"2026-11-02T09:00:00Z"}]}`)
	f.Add(`{"done":null}`)
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = kubernetes.ParseRecord(text) // must not panic
	})
}
