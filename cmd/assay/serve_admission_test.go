package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/admit"
)

const servedDoor = `apiVersion: assay.dev/v1alpha1
kind: Admission
metadata: {name: prod}
spec:
  environment: prod
  requires: [{name: ship, gate: ship, resourceUri: "pkg:generic/app"}]
`

// review is what an API server asks about a pod of one image.
func review(image string) string {
	return fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","kind":{"kind":"Pod"},"operation":"CREATE",`+
		`"namespace":"shop","userInfo":{"username":"dana"},"object":{"spec":{"containers":[{"name":"app","image":%q}]}}}}`, image)
}

func TestServeIsAnAdmissionWebhookThatRecordsWhatItAnswered(t *testing.T) {
	w := newWorld(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.root, "policies", "door.yaml"), []byte(servedDoor), 0o644); err != nil {
		t.Fatal(err)
	}
	w.must(exitOK, nil, "admit", "certificate", "--out", "hook", "--url", "https://"+address, "--host", "127.0.0.1")
	d := w.serve("--admission-listen", address, "--admission-cert", "hook/tls.crt", "--admission-key", "hook/tls.key")
	ca, err := os.ReadFile(filepath.Join(w.root, "hook", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	app, err := os.ReadFile(filepath.Join(w.root, "app"))
	if err != nil {
		t.Fatal(err)
	}
	for image, allowed := range map[string]bool{
		"registry.example/app@" + string(assay.DigestOf(sha256.Sum256(app))): true,
		"registry.example/app:1": false,
	} {
		resp, err := client.Post("https://"+address+admit.Path+"default/prod?timeout=1s", "application/json", strings.NewReader(review(image)))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Response struct {
				UID     string
				Allowed bool
				Status  struct{ Message string }
			} `json:"response"`
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		if err != nil || answer.Response.Allowed != allowed || answer.Response.UID != "u-1" {
			t.Errorf("%s: %d %+v, %v; want allowed %v", image, resp.StatusCode, answer, err, allowed)
		}
		_ = resp.Body.Close() // read
	}
	d.stop()
	for _, kind := range []string{assay.FactAdmissionAllowed, assay.FactAdmissionDenied} {
		out, _ := w.must(exitOK, []string{"ASSAY_DIR=state"}, "ledger", "facts", "--kind", kind, "-o", "json")
		if !strings.Contains(out, `"actor": "kubernetes:dana"`) {
			t.Errorf("no %s is recorded:\n%s", kind, out)
		}
	}
}
