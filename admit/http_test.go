package admit_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"assay.dev/assay/admit"
	admissionv1 "k8s.io/api/admission/v1"
)

func post(t *testing.T, h http.Handler, path, contentType string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, body)
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const reviewPath = admit.Path + "default/prod?timeout=300ms"

func TestTheWebhookAnswersReviews(t *testing.T) {
	w := newWorld(t)
	w.attest(web("good"))
	h := admit.Handler(w.door)
	for _, c := range []struct {
		name, image string
		allowed     bool
		says        string
	}{
		{"signed", web("good"), true, ""},
		{"unsigned", web("unsigned"), false, "prod/release: image " + web("unsigned") + " (container web): nothing is known of this digest"},
		{"a tag", "registry.example/shop/web", false, "prod/tag"},
	} {
		object := strings.Replace(`{"metadata":{"name":"web"},"spec":{"containers":[{"name":"web","image":"IMAGE"}]}}`, "IMAGE", c.image, 1)
		a := post(t, h, reviewPath, "application/json; charset=utf-8", strings.NewReader(string(review("CREATE", "", "Pod", "", object, ""))))
		var got admissionv1.AdmissionReview
		if err := json.Unmarshal(a.Body.Bytes(), &got); err != nil || a.Code != http.StatusOK || got.Response == nil {
			t.Fatalf("%s: %d %s, %v", c.name, a.Code, a.Body, err)
		}
		r := got.Response
		if got.Kind != "AdmissionReview" || got.APIVersion != "admission.k8s.io/v1" || r.UID != "u-1" || r.Allowed != c.allowed {
			t.Errorf("%s: %+v; want allowed %v for u-1", c.name, got, c.allowed)
		}
		if !c.allowed && (r.Result == nil || r.Result.Code != 403 || r.Result.Reason != "Forbidden" || !strings.Contains(r.Result.Message, c.says)) {
			t.Errorf("%s: result %+v; want 403 and %q", c.name, r.Result, c.says)
		}
		for _, k := range []string{"decision_id", "policy_digest", "outcome", "door", "mode"} {
			if r.AuditAnnotations[k] == "" {
				t.Errorf("%s: audit annotations %v have no %s", c.name, r.AuditAnnotations, k)
			}
		}
	}
}

func TestTheWebhookRefusesWhatIsNoReview(t *testing.T) {
	h := admit.Handler(newWorld(t).door)
	good := string(review("CREATE", "", "Pod", "", podJSON, ""))
	for _, c := range []struct {
		name, path, contentType, body string
		status                        int
		says                          string
	}{
		{"wrong content type", reviewPath, "text/yaml", good, http.StatusUnsupportedMediaType, "Content-Type is not application/json"},
		{"v1beta1 review", reviewPath, "application/json", strings.Replace(good, "io/v1", "io/v1beta1", 1), http.StatusBadRequest, "admissionReviewVersions: [v1]"},
		{"malformed review", reviewPath, "application/json", "{", http.StatusBadRequest, "not an AdmissionReview"},
		{"huge review", reviewPath, "application/json", strings.Repeat(" ", admit.MaxReview+1), http.StatusRequestEntityTooLarge, "at most 8388608 are read"},
		{"unknown door", admit.Path + "default/nowhere", "application/json", good, http.StatusNotFound, "nowhere"},
		{"no door", admit.Path, "application/json", good, http.StatusNotFound, "not found"},
	} {
		a := post(t, h, c.path, c.contentType, strings.NewReader(c.body))
		if a.Code != c.status || !strings.Contains(a.Body.String(), c.says) {
			t.Errorf("%s: %d %s; want %d and %q", c.name, a.Code, a.Body, c.status, c.says)
		}
	}
	// A sender that does not say how much comes is stopped at the limit as well.
	r := httptest.NewRequest(http.MethodPost, reviewPath, io.LimitReader(endless{}, 1<<30))
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("an endless review: %d %s; want 413", w.Code, w.Body)
	}
}

// endless yields blanks.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
