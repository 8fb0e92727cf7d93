package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"assay.dev/assay"
	"assay.dev/assay/internal/kube"
	"assay.dev/assay/internal/strict"
)

// object is as much of an object as is read.
type object struct {
	Metadata struct {
		Name        string            `json:"name"`
		Version     string            `json:"resourceVersion"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Replicas *int  `json:"replicas"`
		Least    *int  `json:"minReplicas"`
		Most     int   `json:"maxReplicas"`
		Suspend  *bool `json:"suspend"`
		Target   struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
	} `json:"spec"`
	Status struct {
		Ready  int             `json:"readyReplicas"`
		Active json.RawMessage `json:"active"` // of a CronJob its Jobs, of a Job a number
	} `json:"status"`
}

// stands is where the object's own lever is; an absent number is what the API says it is.
func (o object) stands(k Kind) float64 {
	number := func(n *int) float64 {
		if n == nil {
			return 1
		}
		return float64(*n)
	}
	switch {
	case k.runs() && o.Spec.Suspend != nil && *o.Spec.Suspend:
		return 0
	case k.runs():
		return 100
	case k == Autoscaler:
		return number(o.Spec.Least)
	}
	return number(o.Spec.Replicas)
}

// children are the names of the Jobs that a CronJob has under way.
func (o object) children() []string {
	var list []struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(o.Status.Active, &list) // left out where there are none
	var out []string
	for _, j := range list {
		if dnsName.MatchString(j.Name) {
			out = append(out, j.Name)
		}
	}
	return out
}

// spec is what of an object's spec has to change for it to stand at value.
func (k Kind) spec(value float64) map[string]any {
	switch {
	case k.runs():
		return map[string]any{"suspend": value == 0}
	case k == Autoscaler:
		return map[string]any{"minReplicas": int(value)}
	}
	return map[string]any{"replicas": int(value)}
}

// change is a merge patch on condition that nothing happened to the object since it was read.
func (o object) change(annotations map[string]any, spec map[string]any) ([]byte, error) {
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": o.Metadata.Version, "annotations": annotations},
		"spec":     spec,
	})
}

// errChanged is the answer to a write whose condition no longer holds.
var errChanged = &assay.Error{Code: assay.CodeUnavailable, Msg: "the object changes faster than it can be moved", Hint: "repeat with the same key"}

// get reads one object.
func (c *Client) get(ctx context.Context, k Kind, name string) (object, error) {
	return c.one(ctx, http.MethodGet, k, name, nil)
}

// patch changes one object, and returns it as it is afterwards.
func (c *Client) patch(ctx context.Context, k Kind, name string, body []byte) (object, error) {
	return c.one(ctx, http.MethodPatch, k, name, body)
}

func (c *Client) one(ctx context.Context, method string, k Kind, name string, body []byte) (o object, err error) {
	data, err := c.ask(ctx, method, c.path(k, name), body, string(k)+"/"+name)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(data, &o); err != nil || o.Metadata.Version == "" {
		return o, assay.Errorf(assay.CodeUnavailable, "the API server's answer about %s/%s is no object", k, name)
	}
	return o, nil
}

// ask sends one request about what, and reads the answer.
func (c *Client) ask(ctx context.Context, method, path string, body []byte, what string) ([]byte, error) {
	kind := ""
	if body != nil {
		kind = "application/merge-patch+json"
	}
	resp, err := c.api.Do(ctx, method, path, kind, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := strict.Bounded(resp.Body, MaxAnswer, "the answer of the API server")
	if err != nil {
		return nil, assay.Errorf(assay.CodeUnavailable, "%s: %w", what, err)
	}
	if resp.StatusCode == http.StatusOK {
		return data, nil
	}
	return nil, c.refused(resp.StatusCode, data, method, what)
}

// refused is the answer of an API server in the words of act.Actuator.
func (c *Client) refused(status int, body []byte, method, what string) error {
	e := assay.Errorf(assay.CodeUnavailable, "%s in namespace %s: the API server answers %d: %s", what, c.o.Namespace, status, kube.Message(body))
	switch status {
	case http.StatusNotFound:
		e.Code = assay.CodeNotFound
	case http.StatusConflict:
		return errChanged
	case http.StatusUnauthorized:
		e.Hint = "the token or certificate is unknown there, or has ended"
	case http.StatusForbidden:
		e.Code, e.Hint = assay.CodeDenied, fmt.Sprintf("its account needs the verb %s there; deploy/kubernetes/doors.yaml has a Role", verb(method))
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		e.Code = assay.CodeDenied // by the API's own rules or by an admission policy
	}
	return e
}

// verb is what a Role calls a request.
func verb(method string) string {
	if method == http.MethodPatch {
		return "patch"
	}
	return "get or list"
}
