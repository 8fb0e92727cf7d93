package admit_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/admit"
)

// review wraps objects in an AdmissionReview.
func review(operation, group, kind, subresource, object, old string) []byte {
	data, err := json.Marshal(map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"request": map[string]any{
			"uid": "u-1", "kind": map[string]string{"group": group, "version": "v1", "kind": kind}, "operation": operation,
			"subResource": subresource, "namespace": "shop", "userInfo": map[string]string{"username": "dana"},
			"object": raw(object), "oldObject": raw(old),
		},
	})
	if err != nil {
		panic(err)
	}
	return data
}

func raw(s string) json.RawMessage {
	if s == "" {
		return json.RawMessage("null")
	}
	return json.RawMessage(s)
}

const (
	podJSON = `{"metadata":{"generateName":"web-"},"spec":{
		"initContainers":[{"name":"migrate","image":"r.example/a"}],
		"containers":[{"name":"web","image":"r.example/b"},{"name":"side","image":"r.example/a"}],
		"ephemeralContainers":[{"name":"debug","image":"r.example/c"}],
		"volumes":[{"name":"models","image":{"reference":"r.example/d"}},{"name":"tmp","emptyDir":{}}]}}`
	templateJSON = `{"metadata":{"name":"web"},"spec":{"template":{"spec":{"containers":[{"name":"web","image":"r.example/b"}]}}}}`
	cronJSON     = `{"metadata":{"name":"web"},"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"r.example/b"}]}}}}}}`
)

func TestAReviewNamesEveryImageThatComesIn(t *testing.T) {
	b := []string{"r.example/b by container web"}
	for _, c := range []struct {
		name                                             string
		operation, group, kind, subresource, object, old string
		want                                             []string
		nothing, problem                                 string
	}{
		{"a pod with all that names images", "CREATE", "", "Pod", "", podJSON, "", []string{
			"r.example/a by init container migrate, container side", "r.example/b by container web",
			"r.example/c by ephemeral container debug", "r.example/d by image volume models",
		}, "", ""},
		{"a Deployment", "CREATE", "apps", "Deployment", "", templateJSON, "", b, "", ""},
		{"a StatefulSet", "CREATE", "apps", "StatefulSet", "", templateJSON, "", b, "", ""},
		{"a DaemonSet", "CREATE", "apps", "DaemonSet", "", templateJSON, "", b, "", ""},
		{"a ReplicaSet", "CREATE", "apps", "ReplicaSet", "", templateJSON, "", b, "", ""},
		{"a Job", "CREATE", "batch", "Job", "", templateJSON, "", b, "", ""},
		{"a CronJob", "CREATE", "batch", "CronJob", "", cronJSON, "", b, "", ""},
		{"a ReplicationController", "CREATE", "", "ReplicationController", "", templateJSON, "", b, "", ""},
		{"a PodTemplate", "CREATE", "", "PodTemplate", "", `{"template":{"spec":{"containers":[{"name":"web","image":"r.example/b"}]}}}`, "", b, "", ""},
		{"another's kind with a pod template", "CREATE", "argoproj.io", "Rollout", "", templateJSON, "", b, "", ""},
		{"an update that changes one image", "UPDATE", "", "Pod", "", podJSON, strings.Replace(podJSON, "r.example/b", "r.example/older", 1), b, "", ""},
		{"an update that changes no image", "UPDATE", "", "Pod", "", podJSON, podJSON, nil, "no image changes", ""},
		{"an ephemeral container", "UPDATE", "", "Pod", "ephemeralcontainers", podJSON, strings.Replace(podJSON, "r.example/c", "r.example/a", 1),
			[]string{"r.example/c by ephemeral container debug"}, "", ""},
		{"an update of what cannot be read", "UPDATE", "apps", "Deployment", "", templateJSON, `{"spec":[]}`, b, "", ""},
		{"a scale", "UPDATE", "autoscaling", "Scale", "scale", `{"spec":{"replicas":3}}`, "", nil, "the subresource scale brings no image in", ""},
		{"a deletion", "DELETE", "", "Pod", "", "", podJSON, nil, "a request to delete brings no image in", ""},
		{"a connection", "CONNECT", "", "PodExecOptions", "exec", `{}`, "", nil, "a request to connect brings no image in", ""},
		{"a pod without containers", "CREATE", "", "Pod", "", `{}`, "", nil, "it names no image", ""},
		{"unknown kind", "CREATE", "", "ConfigMap", "", `{"data":{}}`, "", nil, "", "kind: kind ConfigMap holds no pod template"},
		{"unknown operation", "PATCH", "", "Pod", "", podJSON, "", nil, "", `kind: the operation "PATCH" is not known here`},
		{"malformed object", "CREATE", "", "Pod", "", `{"spec":{"containers":"none"}}`, "", nil, "", "kind: the object cannot be read"},
		{"missing object", "CREATE", "", "Pod", "", "", "", nil, "", "kind: the review holds no object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := admit.DecodeReview(review(c.operation, c.group, c.kind, c.subresource, c.object, c.old))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range r.Images {
				got = append(got, i.Reference+" by "+strings.Join(i.Containers, ", "))
			}
			problem := ""
			if r.Problem != nil {
				problem = r.Problem.Rule + ": " + r.Problem.Message
			}
			if !slices.Equal(got, c.want) || r.Nothing != c.nothing || !strings.HasPrefix(problem, c.problem) || (problem == "") != (c.problem == "") {
				t.Errorf("images %q, nothing %q, problem %q; want %q, %q, %q", got, r.Nothing, problem, c.want, c.nothing, c.problem)
			}
		})
	}
}

func TestAReviewThatIsNoneIsRefusedWithTheReason(t *testing.T) {
	whole := string(review("CREATE", "", "Pod", "", podJSON, ""))
	for _, c := range []struct {
		name, data, says string
		code             assay.Code
	}{
		{"v1beta1 review", strings.Replace(whole, "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1), "admissionReviewVersions: [v1]", assay.CodeInvalid},
		{"another kind", strings.Replace(whole, `"AdmissionReview"`, `"ConversionReview"`, 1), "expected an AdmissionReview", assay.CodeInvalid},
		{"no request", `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, "no request", assay.CodeInvalid},
		{"no uid", strings.Replace(whole, `"u-1"`, `""`, 1), "no request with a uid", assay.CodeInvalid},
		{"a huge uid", strings.Replace(whole, "u-1", strings.Repeat("u", 300), 1), "uid has more than", assay.CodeTooLarge},
		{"no JSON", "<html>", "not an AdmissionReview", assay.CodeInvalid},
		{"half of it", whole[:len(whole)/2], "not an AdmissionReview", assay.CodeInvalid},
		{"huge review", strings.Repeat(" ", admit.MaxReview) + whole, "more than 8388608 bytes", assay.CodeTooLarge},
		{"deep nesting", strings.Repeat(`{"a":`, 20_000), "not an AdmissionReview", assay.CodeInvalid},
	} {
		_, err := admit.DecodeReview([]byte(c.data))
		if assay.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %s and %q", c.name, err, c.code, c.says)
		}
	}
}

func TestImageReferencesAreReadAsARuntimeDoes(t *testing.T) {
	d := string(digest("x"))
	for ref, want := range map[string]string{
		"nginx":                            "docker.io/library/nginx ",
		"docker.io/team/app:1":             "docker.io/team/app ",
		"localhost:5000/app@" + d:          "localhost:5000/app " + d,
		"registry.example/shop/web:1@" + d: "registry.example/shop/web " + d,
	} {
		i := admit.ParseImage(ref)
		if got := i.Repository + " " + string(i.Digest); got != want {
			t.Errorf("%s is read as %q; want %q", ref, got, want)
		}
	}
}

// manyContainers is a pod with n containers of different images.
func manyContainers(n int) string {
	var b strings.Builder
	b.WriteString(`{"spec":{"containers":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"c%d","image":"registry.example/shop/web@%s"}`, i, digest(fmt.Sprint(i)))
	}
	b.WriteString(`]}}`)
	return b.String()
}

func FuzzDecodeReview(f *testing.F) {
	f.Add(review("CREATE", "", "Pod", "", podJSON, ""))
	f.Add(review("UPDATE", "batch", "CronJob", "", cronJSON, cronJSON))
	f.Add(review("UPDATE", "", "Pod", "ephemeralcontainers", podJSON, templateJSON))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"x","object":{"spec":{"template":null}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := admit.DecodeReview(data)
		if err != nil {
			if code := assay.CodeOf(err); code != assay.CodeInvalid && code != assay.CodeTooLarge {
				t.Errorf("refused with %s: %v", code, err)
			}
			return
		}
		if r.UID == "" || len(r.Images) > admit.MaxContainers {
			t.Errorf("uid %q with %d images", r.UID, len(r.Images))
		}
		if r.Nothing == "" && r.Problem == nil && len(r.Images) == 0 {
			t.Error("nothing to judge, and nothing says why")
		}
	})
}
