package gameday

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/enforce"
)

// What some plays declare beside the policies of the demonstration.
//
//go:embed doors
var doorFiles embed.FS

// declare adds a file of doors to the world's policies; before Serve.
func (w *World) declare(name string) error {
	text, err := doorFiles.ReadFile("doors/" + name)
	if err != nil {
		return err
	}
	return os.WriteFile(w.path("policies", "door-"+name), text, 0o600)
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// request makes one HTTP request and reads its answer.
func (w *World) request(method, url, host, token string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(w.ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Host = host
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, data, err
}

// ask sends one request through the proxy and tells how it was answered: 200, or
// with the refusal of the version.
func (w *World) ask(host, path string) (status int, refusal string, err error) {
	status, data, err := w.request(http.MethodGet, w.proxyURL+path, host, "", nil)
	if err != nil || status < http.StatusBadRequest {
		return status, "", err
	}
	return status, refusalOf(data), nil
}

// refusalOf is the failed step in the body of a refusal, "" if it names none.
func refusalOf(body []byte) string {
	var p enforce.Problem
	if json.Unmarshal(body, &p) != nil || p.Refusal == nil {
		return ""
	}
	return fmt.Sprintf("step %d (%s): %s", p.Refusal.Step, p.Refusal.Name, p.Refusal.Detail)
}

// changed asks until the answer has the status and returns how long that took, at
// most limit; the last answer is returned in any case.
func (w *World) changed(host, path string, want int, limit time.Duration) (took time.Duration, status int, refusal string, err error) {
	for began := time.Now(); ; {
		status, refusal, err = w.ask(host, path)
		took = time.Since(began)
		if err != nil || status == want || took > limit {
			return took, status, refusal, err
		}
		if err := w.pause(20 * time.Millisecond); err != nil {
			return took, status, refusal, err
		}
	}
}

// route hands the proxy another configuration, as the owner of its control API does.
func (w *World) route(conf enforce.Config, key string) error {
	url := "http://" + w.control + "/v1/"
	status, data, err := w.request(http.MethodGet, url+"status", "", w.secrets.control, nil)
	if err != nil {
		return err
	}
	var now enforce.Status
	if err := json.Unmarshal(data, &now); err != nil {
		return assay.Errorf(assay.CodeUnavailable, "the proxy answered %d with what is no status: %w", status, err)
	}
	body, err := json.Marshal(enforce.Replacement{Generation: now.Generation + 1, Key: key, Config: conf})
	if err != nil {
		return err
	}
	if status, data, err = w.request(http.MethodPut, url+"config", "", w.secrets.control, body); err != nil {
		return err
	}
	if status != http.StatusOK {
		return assay.Errorf(assay.CodeConflict, "the proxy does not take its new routes: %d %s", status, strings.TrimSpace(string(data)))
	}
	return nil
}

// may asks the doors of an environment whether an artifact may run there.
func (w *World) may(environment, image string, digest assay.Digest) (api.AdmissionAnswer, string, error) {
	a, err := w.platform.CheckAdmission(w.ctx, api.AdmissionCheck{Images: []string{image + "@" + string(digest)}, Environment: environment})
	var why []string
	for _, d := range a.Decisions {
		for _, v := range d.Violations {
			why = append(why, v.Message)
		}
		for _, i := range d.Images {
			if i.Basis != "" {
				why = append(why, i.Basis)
			}
		}
	}
	return a, fmt.Sprintf("%s: %s", a.Outcome, strings.Join(why, "; ")), err
}

// series reads one series of the control plane's /metrics, 0 if it is not there yet.
func (w *World) series(name string) (float64, error) {
	status, data, err := w.request(http.MethodGet, w.url+"/metrics", "", "", nil)
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, assay.Errorf(assay.CodeUnavailable, "/metrics answers %d", status)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			var v float64
			_, err := fmt.Sscan(rest, &v)
			return v, err
		}
	}
	return 0, nil
}
