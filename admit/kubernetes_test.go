package admit_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/admit"
	"assay.dev/assay/exception"
	"assay.dev/assay/internal/certs"
	"assay.dev/assay/internal/testenv"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// clusterDoors are one door for each behaviour, each with its namespaces.
const clusterDoors = `apiVersion: assay.dev/v1alpha1
kind: Admission
metadata: {name: prod}
spec:
  environment: prod
  namespaces: [shop]
  requires: [{name: release, gate: release, resourceUri: "pkg:oci/shop"}]
---
apiVersion: assay.dev/v1alpha1
kind: Admission
metadata: {name: tags}
spec:
  environment: prod
  namespaces: ["tags-*"]
  tags: resolve
  requires: [{name: release, gate: release, resourceUri: "pkg:oci/shop"}]
---
apiVersion: assay.dev/v1alpha1
kind: Admission
metadata: {name: lenient}
spec:
  environment: prod
  namespaces: [lenient]
  mode: warn
  failurePolicy: open
  requires: [{name: release, gate: release, resourceUri: "pkg:oci/shop"}]
`

// cluster is a real API server that asks a door of a test's world.
type cluster struct {
	*world
	t        *testing.T
	api      *testenv.APIServer
	stop     func()       // ends the webhook
	fresh    atomic.Bool  // each review wants a new handshake
	lastCert atomic.Value // serial number of the certificate that the last handshake showed
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, api: testenv.Kubernetes(t), world: worldOf(t, clusterDoors)}
	c.now = time.Now
	for _, ns := range []string{"shop", "tags-1", "lenient", "free"} {
		c.want(c.post("/api/v1/namespaces", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}), 201, "")
	}
	return c
}

// listen starts the webhook with certificates of dir, and tells the API server of it.
func (c *cluster) listen(dir string) {
	c.t.Helper()
	pair := certs.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	reload, err := certs.Watch(pair, 10*time.Millisecond, time.Now, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	h := admit.Handler(c.door)
	front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.fresh.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
	config := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := reload.Get(hello)
		if err == nil {
			c.lastCert.Store(cert.Leaf.SerialNumber.String())
		}
		return cert, err
	}}
	ln, err := (&net.ListenConfig{}).Listen(c.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- admit.Serve(ctx, ln, front, config, slog.New(slog.DiscardHandler)) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	})
	c.t.Cleanup(c.stop)
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		c.t.Fatal(err)
	}
	yaml, err := admit.Configuration(c.policy.Admissions(), admit.Webhook{Name: "assay", URL: "https://" + ln.Addr().String(), CA: ca})
	if err != nil {
		c.t.Fatal(err)
	}
	answer := c.api.Do(c.t, http.MethodPatch, "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/assay?fieldManager=test&force=true", "application/apply-patch+yaml", yaml)
	if answer.Status != 201 {
		c.t.Fatalf("the API server takes the configuration with %d: %s\n%s", answer.Status, answer.Body, yaml)
	}
	// The API server learns of a configuration by its own watch.
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for a := c.dryPod("shop", web("unknown")); a.Status != 403; a = c.dryPod("shop", web("unknown")) {
		if time.Now().After(deadline) {
			c.t.Fatalf("the API server does not ask the webhook: %d %s", a.Status, a.Body)
		}
		<-tick.C
	}
}

func (c *cluster) post(path string, body any) testenv.Answer {
	c.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.api.Do(c.t, http.MethodPost, path, "application/json", data)
}

func pod(name string, images ...string) corev1.Pod {
	p := corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{GenerateName: name}}
	for i, img := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: img})
	}
	return p
}

func (c *cluster) pod(ns string, images ...string) testenv.Answer {
	c.t.Helper()
	return c.post("/api/v1/namespaces/"+ns+"/pods", pod("web-", images...))
}

func (c *cluster) dryPod(ns string, images ...string) testenv.Answer {
	c.t.Helper()
	return c.post("/api/v1/namespaces/"+ns+"/pods?dryRun=All", pod("web-", images...))
}

// want checks an answer's status and that its body says something.
func (c *cluster) want(a testenv.Answer, status int, says string) {
	c.t.Helper()
	if a.Status != status || !strings.Contains(string(a.Body), says) {
		c.t.Errorf("the API server answers %d %s; want %d and %q", a.Status, a.Body, status, says)
	}
}

// TestARealAPIServerAsksTheDoor is the whole of it: a real kube-apiserver refuses
// what is not attested, and lets in what is. One server serves all parts, which
// build on each other.
func TestARealAPIServerAsksTheDoor(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	makeCertificate(t, dir)
	c.listen(dir)
	good := web("signed")
	c.attest(good)

	for _, part := range []struct {
		name string
		do   func(*cluster)
	}{
		{"AnUnsignedPodIsRefusedWithOurMessageAndASignedOneAdmitted", func(c *cluster) {
			a := c.pod("shop", web("unsigned"))
			c.want(a, 403, `admission webhook \"prod.default.admission.assay.dev\" denied the request: prod/release: image `+web("unsigned"))
			c.want(a, 403, "nothing is known of this digest")
			c.want(c.pod("shop", good), 201, "")
			c.want(c.pod("free", web("unsigned")), 201, "")
		}},
		{"ATagIsRefusedWithTheFixAndResolvedWhereThePolicySaysSo", func(c *cluster) {
			c.want(c.pod("shop", "registry.example/shop/web"), 403, "write registry.example/shop/web@"+string(digest("signed")))
			c.want(c.pod("tags-1", "registry.example/shop/other:2"), 403, "its tag stands for no digest here")
			a := c.pod("tags-1", "registry.example/shop/web")
			c.want(a, 201, "")
			if len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "pin it") {
				c.t.Errorf("warnings %q; want one that says to pin the tag", a.Warnings)
			}
		}},
		{"TheTemplateOfADeploymentIsJudged", func(c *cluster) { c.deployment(good) }},
		{"AnEphemeralContainerComesInByTheSubresource", func(c *cluster) { c.ephemeral(good) }},
		{"AServerSideDryRunIsAnsweredAndLeavesNoFact", func(c *cluster) {
			before := len(c.decisions())
			c.want(c.dryPod("shop", web("unsigned")), 403, "prod/release")
			c.want(c.dryPod("shop", good), 201, "")
			if err := c.door.Flush(context.Background()); err != nil {
				c.t.Fatal(err)
			}
			flushed := len(c.decisions()) // with what earlier parts counted
			c.want(c.dryPod("shop", good), 201, "")
			if err := c.door.Flush(context.Background()); err != nil {
				c.t.Fatal(err)
			}
			if after := len(c.decisions()); after != flushed || flushed < before {
				c.t.Errorf("%d facts, then %d; want none of a dry run", flushed, after)
			}
		}},
		{"TheAuditLogHasDecisionPolicyAndException", func(c *cluster) { c.audit() }},
		{"AnEmergencyExceptionLetsItInAndTheFactSaysSo", func(c *cluster) { c.breakGlass() }},
		{"ADoorThatWarnsAnswersWarnings", func(c *cluster) {
			a := c.pod("lenient", web("unsigned"))
			c.want(a, 201, "")
			if len(a.Warnings) == 0 || !strings.Contains(a.Warnings[0], "lenient/release") {
				c.t.Errorf("warnings %q; want what the door objects to", a.Warnings)
			}
		}},
		{"TheManifestsBelowDeployAreTakenAsTheyAre", func(c *cluster) { c.manifests() }},
		{"ACertificateIsRotatedWhileRequestsGoOn", func(c *cluster) { c.rotate(dir, good) }},
		{"AWebhookThatIsDownClosesOneDoorAndOpensTheOther", func(c *cluster) {
			c.stop()
			c.want(c.pod("shop", good), 500, "failed calling webhook")
			c.want(c.pod("lenient", web("unsigned")), 201, "")
			c.want(c.pod("free", web("unsigned")), 201, "")
		}},
	} {
		t.Run(part.name, func(t *testing.T) {
			c.t = t
			part.do(c)
		})
		c.t = t
	}
}

// except gives an exception that lasts an hour: asked for by dana, approved by kim.
func (w *world) except(ctx context.Context, scope assay.ExceptionScope) string {
	w.t.Helper()
	r, err := exception.Request(ctx, w.store, exception.Ask{
		Namespace: "default", Reason: "customers cannot pay; the fix cannot wait", NotAfter: w.now().Add(time.Hour), Scope: scope,
	}, "dana", w.now())
	if err == nil {
		_, err = exception.Approve(ctx, w.store, "default", r.ID, "kim", w.now())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

func makeCertificate(t *testing.T, dir string) {
	t.Helper()
	if err := certs.Make(dir, []string{"127.0.0.1", "localhost"}, 24*time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) deployment(good string) {
	c.t.Helper()
	body := func(image string, replicas int) map[string]any {
		return map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web"},
			"spec": map[string]any{
				"replicas": replicas, "selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
				"template": map[string]any{
					"metadata": map[string]any{"labels": map[string]any{"app": "web"}},
					"spec": map[string]any{
						"initContainers": []any{map[string]any{"name": "migrate", "image": image}},
						"containers":     []any{map[string]any{"name": "web", "image": good}},
					},
				},
			},
		}
	}
	path := "/apis/apps/v1/namespaces/shop/deployments"
	c.want(c.post(path, body(web("unsigned"), 1)), 403, "init container migrate")
	c.want(c.post(path, body(good, 1)), 201, "")
	data, err := json.Marshal(body(web("unsigned"), 1))
	if err != nil {
		c.t.Fatal(err)
	}
	c.want(c.api.Do(c.t, http.MethodPut, path+"/web", "application/json", data), 403, "init container migrate")
	// Scaling changes no image: it goes on even when attestations do not hold any more.
	scale := []byte(`{"spec":{"replicas":3}}`)
	c.want(c.api.Do(c.t, http.MethodPatch, path+"/web", "application/merge-patch+json", scale), 200, `"replicas":3`)
}

func (c *cluster) ephemeral(good string) {
	c.t.Helper()
	made := c.pod("shop", good)
	c.want(made, 201, "")
	var p corev1.Pod
	if err := json.Unmarshal(made.Body, &p); err != nil {
		c.t.Fatal(err)
	}
	path := "/api/v1/namespaces/shop/pods/" + p.Name + "/ephemeralcontainers"
	add := func(image string) testenv.Answer {
		patch := fmt.Sprintf(`{"spec":{"ephemeralContainers":[{"name":"debug","image":%q}]}}`, image)
		return c.api.Do(c.t, http.MethodPatch, path, "application/strategic-merge-patch+json", []byte(patch))
	}
	c.want(add(web("debugger")), 403, "ephemeral container debug")
	c.want(add(good), 200, "debug")
}

func (c *cluster) audit() {
	c.t.Helper()
	c.want(c.pod("shop", web("audited")), 403, "")
	data, err := os.ReadFile(c.api.AuditLog)
	if err != nil {
		c.t.Fatal(err)
	}
	const hook = "prod.default.admission.assay.dev/"
	found := map[string]string{}
	for line := range bytes.Lines(data) {
		var event struct {
			Annotations map[string]string `json:"annotations"`
		}
		if err := json.Unmarshal(line, &event); err != nil {
			c.t.Fatal(err)
		}
		if event.Annotations[hook+"decision_id"] != "" {
			found = event.Annotations // the last one stays
		}
	}
	facts := c.facts(assay.FactAdmissionDenied)
	last := facts[len(facts)-1]
	if found[hook+"decision_id"] != string(last.ID) || found[hook+"policy_digest"] != string(c.policy.Digest()) || found[hook+"outcome"] != "absent" {
		c.t.Errorf("audit annotations %v; want decision %s, policy %s", found, last.ID, c.policy.Digest())
	}
}

func (c *cluster) breakGlass() {
	c.t.Helper()
	ctx := context.Background()
	image := web("hotfix")
	c.want(c.pod("shop", image), 403, "prod/release")
	e := c.except(ctx, assay.ExceptionScope{Rules: []string{"prod/release"}, Names: []string{"kubernetes/shop/**"}})
	a := c.pod("shop", image)
	c.want(a, 201, "")
	if len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], e) {
		c.t.Errorf("warnings %q; want one that names exception %s", a.Warnings, e)
	}
	allowed, uses := c.facts(assay.FactAdmissionAllowed), c.facts(assay.FactExceptionUsed)
	if len(uses) != 1 || len(allowed) == 0 {
		c.t.Fatalf("%d uses and %d admissions are recorded; want both", len(uses), len(allowed))
	}
	last := allowed[len(allowed)-1]
	var said admit.Payload
	if err := json.Unmarshal(last.Payload, &said); err != nil {
		c.t.Fatal(err)
	}
	if last.Retention != assay.RetainAudit || len(said.Decision.Exceptions) != 1 || said.Decision.Exceptions[0].ID != e || said.Decision.Target.User != "admin" {
		c.t.Errorf("the fact says %+v; want the exception %s and who used it, in the ledger", said.Decision, e)
	}
	if _, err := exception.Revoke(ctx, c.store, "default", e, "kim", "the incident is over", c.now()); err != nil {
		c.t.Fatal(err)
	}
	c.want(c.pod("shop", image), 403, "prod/release")
}

// manifests sends the manifests that users start from; an unknown field is refused.
func (c *cluster) manifests() {
	c.t.Helper()
	dir := filepath.Join(testenv.ModuleRoot(c.t), "deploy", "kubernetes")
	for _, file := range []string{"assay.yaml", "webhook.yaml", "argocd/presync.yaml"} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			c.t.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(data), "\n---\n") {
			kind := ""
			for line := range strings.Lines(doc) {
				if k, ok := strings.CutPrefix(line, "kind: "); ok {
					kind = strings.TrimSpace(k)
				}
			}
			path, ok := map[string]string{
				"Namespace": "/api/v1/namespaces", "Service": "/api/v1/namespaces/assay-system/services",
				"StatefulSet": "/apis/apps/v1/namespaces/assay-system/statefulsets", "Job": "/apis/batch/v1/namespaces/free/jobs",
				"ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
			}[kind]
			query := "?fieldValidation=Strict"
			if kind == "ValidatingWebhookConfiguration" {
				query += "&dryRun=All" // the cluster of the test has its own, of the same name
				doc = strings.Replace(doc, "name: assay\nwebhooks", "name: example\nwebhooks", 1)
			}
			a := c.api.Do(c.t, http.MethodPost, path+query, "application/yaml", []byte(doc))
			if !ok || a.Status != 201 {
				c.t.Errorf("%s of %s: %d %s", kind, file, a.Status, a.Body)
			}
		}
	}
}

func (c *cluster) rotate(dir, good string) {
	c.t.Helper()
	first := c.lastCert.Load()
	c.fresh.Store(true)
	stop := make(chan struct{})
	done := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
				c.want(c.dryPod("shop", good), 201, "")
				n++
			}
		}
	}()
	makeCertificate(c.t, dir) // a new certificate of the same authority
	deadline := time.Now().Add(10 * time.Second)
	for c.lastCert.Load() == first && time.Now().Before(deadline) {
		c.want(c.dryPod("shop", good), 201, "")
	}
	close(stop)
	if n := <-done; n == 0 || c.lastCert.Load() == first {
		c.t.Errorf("%d requests went on; the certificate is %v, it was %v", n, c.lastCert.Load(), first)
	}
	data, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if block, _ := pem.Decode(data); err != nil || block == nil {
		c.t.Errorf("the authority's certificate is gone: %v", err)
	}
}
