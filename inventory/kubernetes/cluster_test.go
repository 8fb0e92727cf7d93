package kubernetes_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/kube"
	"assay.dev/assay/internal/testenv"
	"assay.dev/assay/inventory"
	"assay.dev/assay/inventory/kubernetes"
	"assay.dev/assay/store/mem"
)

func hex(c string) string { return strings.Repeat(c, 64) }

// line is a sighting in short.
func line(g inventory.Sighting) string {
	digest := "-"
	if g.Digest != "" {
		digest = g.Digest.Hex()[:1]
	}
	return fmt.Sprintf("%s/%s %s %s x%d", g.Place, g.Service, g.Image, digest, g.Instances)
}

func observed(t *testing.T, c *kubernetes.Cluster) string {
	t.Helper()
	reports, err := c.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(reports) != 1 || !reports[0].Complete || reports[0].Environment != "prod" || reports[0].Source != "cluster-1" {
		t.Fatalf("%+v", reports)
	}
	var lines []string
	for _, g := range reports[0].Sightings {
		lines = append(lines, line(g))
	}
	return strings.Join(lines, "\n")
}

func TestARealClusterSaysWhatItsPodsRun(t *testing.T) {
	api := testenv.Kubernetes(t)
	want := func(a testenv.Answer, status int) {
		t.Helper()
		if a.Status != status {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	want(api.Do(t, http.MethodPost, "/api/v1/namespaces", "application/json", []byte(`{"metadata":{"name":"shop"}}`)), 201)
	pod := func(name, spec, status string) {
		t.Helper()
		body := fmt.Sprintf(`{"metadata":{"name":%q,"labels":{"app.kubernetes.io/name":"web"}},"spec":%s}`, name, spec)
		want(api.Do(t, http.MethodPost, "/api/v1/namespaces/shop/pods", "application/json", []byte(body)), 201)
		if strings.Contains(status, "ephemeral") { // is added to a pod that exists, and to no other
			e := `{"spec":{"ephemeralContainers":[{"name":"debug","image":"registry.example/debug:1"}]}}`
			want(api.Do(t, http.MethodPatch, "/api/v1/namespaces/shop/pods/"+name+"/ephemeralcontainers", "application/strategic-merge-patch+json", []byte(e)), 200)
		}
		if status != "" { // there is no node in this cluster: we say what a kubelet would
			want(api.Do(t, http.MethodPatch, "/api/v1/namespaces/shop/pods/"+name+"/status", "application/merge-patch+json", []byte(`{"status":`+status+`}`)), 200)
		}
	}
	spec := `{"initContainers":[{"name":"migrate","image":"registry.example/migrate:1"}],"containers":[{"name":"web","image":"registry.example/web:1"}]}`
	running := `{"phase":"Running","initContainerStatuses":[{"name":"migrate","image":"x","imageID":"registry.example/migrate@sha256:` + hex("b") + `","ready":true,"restartCount":0,"state":{"terminated":{"exitCode":0}}}],
		"containerStatuses":[{"name":"web","image":"x","imageID":"docker-pullable://registry.example/web@sha256:` + hex("a") + `","ready":true,"restartCount":0,"state":{"running":{}}}]`
	pod("web-1", spec, running+`}`)
	pod("web-2", spec, running+`,"ephemeralContainerStatuses":[{"name":"debug","image":"x","imageID":"registry.example/debug@sha256:`+hex("c")+`","ready":false,"restartCount":0,"state":{"running":{}}}]}`)
	pod("waiting", spec, "")
	pod("done", spec, strings.Replace(running, "Running", "Succeeded", 1)+`}`)

	access, err := kube.Open(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	c, err := kubernetes.New(access, "prod", "cluster-1")
	if err != nil {
		t.Fatal(err)
	}
	wanted := "shop/web registry.example/debug:1 c x1\nshop/web registry.example/migrate:1 b x2\nshop/web registry.example/web:1 a x2"
	if got := observed(t, c); got != wanted {
		t.Errorf("it runs\n%s\nwant\n%s", got, wanted)
	}

	access.Cert, access.Key = nil, nil
	stranger, err := kubernetes.New(access, "prod", "cluster-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Observe(t.Context()); (assay.CodeOf(err) != assay.CodeDenied && assay.CodeOf(err) != assay.CodeUnauthenticated) || !strings.Contains(err.Error(), "prod") {
		t.Errorf("without credentials: %v", err)
	}
}

// fake is an API server that answers pages of pods.
func fake(t *testing.T, answer http.HandlerFunc) kube.Access {
	t.Helper()
	s := httptest.NewTLSServer(answer)
	t.Cleanup(s.Close)
	return kube.Access{Server: s.URL, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), Token: "secret"}
}

func TestAClusterIsReadPageByPageAndWhole(t *testing.T) {
	page := func(n int, next string) string {
		return fmt.Sprintf(`{"kind":"PodList","metadata":{"continue":%q},"items":[{"metadata":{"name":"p%d","namespace":"n","labels":{"app":"a%d"}},
			"spec":{"containers":[{"name":"c","image":"i:%d"}]},"status":{"phase":"Running","containerStatuses":[{"name":"c","imageID":"r@sha256:%s","state":{"running":{}}}]}}]}`, next, n, n, n, hex("a"))
	}
	fail := false
	access := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Query().Get("limit") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch next := r.URL.Query().Get("continue"); {
		case next == "":
			_, _ = w.Write([]byte(page(1, "more")))
		case fail:
			w.WriteHeader(http.StatusGone)
			_, _ = w.Write([]byte(`{"message":"the list is too old"}`))
		default:
			_, _ = w.Write([]byte(page(2, "")))
		}
	})
	c, err := kubernetes.New(access, "prod", "cluster-1")
	if err != nil {
		t.Fatal(err)
	}
	if got := observed(t, c); got != "n/a1 i:1 a x1\nn/a2 i:2 a x1" {
		t.Errorf("it runs\n%s", got)
	}
	fail = true
	if reports, err := c.Observe(t.Context()); err == nil || len(reports) != 0 || !strings.Contains(err.Error(), "the list is too old") {
		t.Errorf("a list that breaks off gives %+v, %v: a part would end what runs", reports, err)
	}
	access.Token = "other"
	c, _ = kubernetes.New(access, "prod", "cluster-1")
	if _, err := c.Observe(t.Context()); assay.CodeOf(err) != assay.CodeUnauthenticated {
		t.Errorf("with another token: %v", err)
	}
}

func TestOnePodWithALongNameDoesNotBlindACluster(t *testing.T) {
	long := strings.Repeat("p", 253)
	pod := func(name, image, imageID string) string {
		return fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"n"},"spec":{"containers":[{"name":"c","image":%q}]},
			"status":{"phase":"Running","containerStatuses":[{"name":"c","imageID":%q,"state":{"running":{}}}]}}`, name, image, imageID)
	}
	access := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"kind":"PodList","items":[%s]}`, strings.Join([]string{
			pod("short", "i:1", "r@sha256:"+hex("a")),
			pod(long, "i:2", "r@sha256:"+hex("b")),
			pod("large", "registry.example/"+strings.Repeat("i", inventory.MaxImage), "sha256:"+hex("c")),
			pod("odd", "registry.example/odd@sha512:"+hex("d"), ""),
		}, ","))
	})
	c, err := kubernetes.New(access, "prod", "cluster-1")
	if err != nil {
		t.Fatal(err)
	}
	reports, err := c.Observe(t.Context())
	if err != nil || len(reports) != 1 {
		t.Fatal(reports, err)
	}
	s := mem.New(mem.Config{})
	reports[0].Namespace, reports[0].Actor = "default", "test"
	p, err := inventory.Push(t.Context(), s, reports[0], time.Now())
	if err != nil || p.Appeared != 4 {
		t.Errorf("of four pods %d are known, %v", p.Appeared, err)
	}
}

func TestATokenIsNotShownToWhoeverAnswers(t *testing.T) {
	elsewhere := fake(t, func(w http.ResponseWriter, r *http.Request) { t.Error("the token was sent elsewhere") })
	redirects := fake(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.Server, http.StatusFound) })
	unknown := redirects
	unknown.CA = nil
	for name, access := range map[string]kube.Access{"a redirect": redirects, "a stranger's certificate": unknown} {
		c, err := kubernetes.New(access, "prod", "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Observe(t.Context()); assay.CodeOf(err) != assay.CodeUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := kubernetes.New(kube.Access{Server: "http://127.0.0.1:1"}, "prod", "x"); assay.CodeOf(err) != assay.CodeInvalid {
		t.Errorf("plain HTTP: %v", err)
	}
}

func TestWhatAnImageIsNamedBy(t *testing.T) {
	for imageID, digest := range map[string]string{
		"r.example/a@sha256:" + hex("d"):                   "d",
		"docker-pullable://r.example/a@sha256:" + hex("d"): "d",
		"sha256:" + hex("d"):                               "-", // a config, which no registry knows an image by
		"r.example/a@sha512:" + hex("d"):                   "-",
		"r.example/a@sha256:short":                         "-",
	} {
		access := fake(t, func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"kind": "PodList", "items": []any{map[string]any{
				"metadata": map[string]any{"name": "p", "namespace": "n", "ownerReferences": []any{map[string]any{"kind": "ReplicaSet", "name": "web-5d4f", "controller": true}}, "labels": map[string]string{"pod-template-hash": "5d4f"}},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": "c", "image": "r.example/a:1"}}},
				"status":   map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{"name": "c", "imageID": imageID}}},
			}}})
		})
		c, err := kubernetes.New(access, "prod", "cluster-1")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := observed(t, c), "n/web r.example/a:1 "+digest+" x1"; got != want {
			t.Errorf("%s: %q, want %q", imageID, got, want)
		}
	}
}
