package admit

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/policy"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// WebhookTimeout is how long an API server waits for an answer, in seconds.
const WebhookTimeout = 3

// Webhook says where an API server finds the doors.
type Webhook struct {
	Name string // of the configuration
	// URL is the base that doors are below, for API servers outside of the cluster's
	// network; or Service and ServiceNamespace name a service on port 443.
	URL              string
	Service          string
	ServiceNamespace string
	CA               []byte // PEM: who signed the webhook's certificate
}

// Configuration makes the ValidatingWebhookConfiguration of doors: one webhook for
// each, so that each has its own failure policy and asks only about the namespaces
// it guards. What keeps a cluster alive is never asked about: the leases and
// everything else of kube-system and kube-node-lease, and the webhook's own
// namespace, which could not start again otherwise.
func Configuration(doors []policy.Admission, w Webhook) ([]byte, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	c := admissionregistrationv1.ValidatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{Kind: "ValidatingWebhookConfiguration", APIVersion: admissionregistrationv1.SchemeGroupVersion.String()},
		ObjectMeta: metav1.ObjectMeta{Name: w.Name, Labels: map[string]string{"app.kubernetes.io/name": "assay"}},
	}
	for _, d := range doors {
		if d.Spec.Mode != assay.ModeOff {
			c.Webhooks = append(c.Webhooks, w.of(d))
		}
	}
	if len(c.Webhooks) == 0 {
		return nil, assay.Errorf(assay.CodeNotFound, "the policy has no door that is not off: nothing would be asked about")
	}
	return yaml.Marshal(c)
}

func (w Webhook) check() error {
	if w.URL == "" {
		if w.Service == "" || w.ServiceNamespace == "" {
			return assay.Errorf(assay.CodeInvalid, "neither a URL nor a service is named; an API server would find no door")
		}
		return nil
	}
	u, err := url.Parse(w.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return assay.Errorf(assay.CodeInvalid, "%q is not of the form https://host:port; API servers speak TLS only", w.URL)
	}
	return nil
}

// of is the webhook of one door.
func (w Webhook) of(d policy.Admission) admissionregistrationv1.ValidatingWebhook {
	path := Path + d.Metadata.Namespace + "/" + d.Metadata.Name
	client := admissionregistrationv1.WebhookClientConfig{CABundle: w.CA}
	if w.URL != "" {
		client.URL = new(strings.TrimSuffix(w.URL, "/") + path)
	} else {
		client.Service = &admissionregistrationv1.ServiceReference{Namespace: w.ServiceNamespace, Name: w.Service, Path: &path, Port: new(int32(443))}
	}
	fail := admissionregistrationv1.Fail
	if d.Spec.FailurePolicy == policy.FailOpen || d.Spec.Mode != assay.ModeEnforce {
		fail = admissionregistrationv1.Ignore // a door that only watches blocks nobody, absent neither
	}
	return admissionregistrationv1.ValidatingWebhook{
		Name:                    fmt.Sprintf("%s.%s.admission.assay.dev", d.Metadata.Name, d.Metadata.Namespace),
		ClientConfig:            client,
		Rules:                   rules(),
		FailurePolicy:           &fail,
		MatchPolicy:             new(admissionregistrationv1.Equivalent),
		SideEffects:             new(admissionregistrationv1.SideEffectClassNoneOnDryRun), // denials are recorded, those of dry runs are not
		TimeoutSeconds:          new(int32(WebhookTimeout)),
		AdmissionReviewVersions: []string{"v1"},
		MatchConditions:         w.conditions(d),
	}
}

// rules are the built-in kinds that name images.
func rules() []admissionregistrationv1.RuleWithOperations {
	of := func(group, version string, resources ...string) admissionregistrationv1.RuleWithOperations {
		return admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
			Rule: admissionregistrationv1.Rule{
				APIGroups: []string{group}, APIVersions: []string{version}, Resources: resources, Scope: new(admissionregistrationv1.NamespacedScope),
			},
		}
	}
	return []admissionregistrationv1.RuleWithOperations{
		of("", "v1", "pods", "pods/ephemeralcontainers", "replicationcontrollers", "podtemplates"),
		of("apps", "v1", "deployments", "statefulsets", "daemonsets", "replicasets"),
		of("batch", "v1", "jobs", "cronjobs"),
	}
}

// systemNamespaces keep a cluster alive. A door guards one only if it names it.
var systemNamespaces = []string{"kube-system", "kube-node-lease"}

// conditions keep everything away that the door would not judge.
func (w Webhook) conditions(d policy.Admission) []admissionregistrationv1.MatchCondition {
	named := func(ns string) bool { return slices.Contains(d.Spec.Namespaces, ns) }
	spare := slices.DeleteFunc(slices.Clone(systemNamespaces), named)
	if w.ServiceNamespace != "" {
		spare = append(spare, w.ServiceNamespace)
	}
	all := []admissionregistrationv1.MatchCondition{
		{Name: "not-the-clusters-own", Expression: "!(" + among(spare) + ")"},
		{Name: "not-a-lease", Expression: `request.resource.group != "coordination.k8s.io"`},
	}
	if len(d.Spec.Namespaces) > 0 {
		all = append(all, admissionregistrationv1.MatchCondition{Name: "guarded-namespaces", Expression: among(d.Spec.Namespaces)})
	}
	if len(d.Spec.ExcludeNamespaces) > 0 {
		all = append(all, admissionregistrationv1.MatchCondition{Name: "excluded-namespaces", Expression: "!(" + among(d.Spec.ExcludeNamespaces) + ")"})
	}
	return all
}

// among is CEL for "the request's namespace is one of these", in the form of policy.Admission.
func among(names []string) string {
	var exact, parts []string
	for _, n := range names {
		if prefix, open := strings.CutSuffix(n, "*"); open {
			parts = append(parts, "request.namespace.startsWith("+strconv.Quote(prefix)+")")
		} else {
			exact = append(exact, strconv.Quote(n))
		}
	}
	if len(exact) > 0 || len(names) == 0 {
		parts = append([]string{"request.namespace in [" + strings.Join(exact, ", ") + "]"}, parts...)
	}
	return strings.Join(parts, " || ")
}
