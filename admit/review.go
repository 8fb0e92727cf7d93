package admit

import (
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
	"github.com/google/go-containerregistry/pkg/name"
	admissionv1 "k8s.io/api/admission/v1"
	kjson "sigs.k8s.io/json"
)

const (
	// MaxReview is the largest review that is read, in bytes. A request to an API
	// server has at most 3 MiB; a review holds the object twice, and some more.
	MaxReview = 8 << 20
	// MaxContainers is how many containers and image volumes of one object are judged.
	MaxContainers = 512
	// MaxReference is the longest image reference, in bytes.
	MaxReference = 1024
	// maxTargetText is the longest name that is taken over from a review, in bytes.
	maxTargetText = 256
)

// Target is what somebody wants to put into the environment.
type Target struct {
	Operation   string `json:"operation,omitempty"` // CREATE, UPDATE; "" outside of Kubernetes
	Kind        string `json:"kind,omitempty"`      // "Deployment.apps", "Pod"
	Subresource string `json:"subresource,omitempty"`
	Namespace   string `json:"namespace,omitempty"` // of the cluster
	Name        string `json:"name,omitempty"`      // generated ones end in "-"
	User        string `json:"user,omitempty"`      // as the API server authenticated it
}

// places begins the names of places in scopes of exceptions.
const places = "kubernetes"

// path names t as scopes of exceptions do.
func (t Target) path() string {
	return strings.Join([]string{places, t.Namespace, t.Kind, t.Name}, "/")
}

// Image is one image that comes in.
type Image struct {
	Reference  string       `json:"reference"`            // as it was written
	Repository string       `json:"repository,omitempty"` // with its registry, without tag and digest
	Digest     assay.Digest `json:"digest,omitempty"`     // "" if it is named by a tag alone
	Containers []string     `json:"containers,omitempty"` // who names it, for example "init container migrate"

	problem string // why the reference cannot be read
}

// name names i as scopes of exceptions do: as it was written, but never like a place.
// Docker Hub may have a repository "kubernetes/shop/web", and whoever writes it in a
// deployment is not in that place.
func (i Image) name() string {
	if i.Reference == places || strings.HasPrefix(i.Reference, places+"/") {
		return hub + i.Reference
	}
	return i.Reference
}

// Review is a request that was decoded, as far as a decision needs it.
type Review struct {
	UID    string
	Target Target
	DryRun bool    // nothing may be changed by the answer
	Images []Image // that are new: an update that leaves an image as it is does not judge it again

	// Nothing says why there is nothing to judge, "" if there is something.
	Nothing string
	// Problem says why the object cannot be judged; nil if it can.
	Problem *Problem
}

// Problem is a rule that every door has, and how an object breaks it.
type Problem struct {
	Rule    string // "kind" or "limit"
	Message string
}

// DecodeReview reads an AdmissionReview of admission.k8s.io/v1. The error is of the
// envelope and there is nobody to answer; what is wrong with the object stands in
// Review.Problem, for the answer.
func DecodeReview(data []byte) (Review, error) {
	if len(data) > MaxReview {
		return Review{}, assay.Errorf(assay.CodeTooLarge, "the review has more than %d bytes", MaxReview)
	}
	var in admissionv1.AdmissionReview
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &in); err != nil {
		return Review{}, assay.Errorf(assay.CodeInvalid, "the body is not an AdmissionReview: %w", err)
	}
	if in.Kind != "AdmissionReview" || in.APIVersion != admissionv1.SchemeGroupVersion.String() {
		e := assay.Errorf(assay.CodeInvalid, "the body is a %q of %q; expected an AdmissionReview of %s", clip(in.Kind, 80), clip(in.APIVersion, 80), admissionv1.SchemeGroupVersion)
		e.Hint = "write admissionReviewVersions: [v1] in the webhook configuration"
		return Review{}, e
	}
	req := in.Request
	if req == nil || req.UID == "" {
		return Review{}, assay.Errorf(assay.CodeInvalid, "the review has no request with a uid")
	}
	if len(req.UID) > maxTargetText {
		return Review{}, assay.Errorf(assay.CodeTooLarge, "the uid has more than %d bytes", maxTargetText)
	}
	r := Review{UID: string(req.UID), DryRun: req.DryRun != nil && *req.DryRun, Target: targetOf(req)}
	r.read(req)
	return r, nil
}

func targetOf(req *admissionv1.AdmissionRequest) Target {
	kind := req.Kind.Kind
	if req.Kind.Group != "" {
		kind += "." + req.Kind.Group
	}
	return Target{
		Operation: clip(string(req.Operation), maxTargetText), Kind: clip(kind, maxTargetText), Subresource: clip(req.SubResource, maxTargetText),
		Namespace: clip(req.Namespace, maxTargetText), Name: clip(req.Name, maxTargetText), User: clip(req.UserInfo.Username, maxTargetText),
	}
}

// The parts of objects that name images. Everything else in an object is the API
// server's to judge.
type (
	object struct {
		Metadata struct {
			GenerateName string `json:"generateName"`
			Name         string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			podSpec
			Template    *podTemplate `json:"template"` // of what makes pods
			JobTemplate *struct {
				Spec struct {
					Template *podTemplate `json:"template"`
				} `json:"spec"`
			} `json:"jobTemplate"` // of a CronJob
		} `json:"spec"`
		Template *podTemplate `json:"template"` // of a PodTemplate
	}
	podTemplate struct {
		Spec podSpec `json:"spec"`
	}
	podSpec struct {
		InitContainers      []container `json:"initContainers"`
		Containers          []container `json:"containers"`
		EphemeralContainers []container `json:"ephemeralContainers"`
		Volumes             []struct {
			Name  string `json:"name"`
			Image *struct {
				Reference string `json:"reference"`
			} `json:"image"`
		} `json:"volumes"`
	}
	container struct {
		Name  string `json:"name"`
		Image string `json:"image"`
	}
)

// pod finds the pod in an object of a kind, nil if there is none. Kinds that are not
// Kubernetes' own are judged too if they hold a pod where its own kinds do.
func (o *object) pod(kind string) *podSpec {
	switch {
	case kind == "Pod":
		return &o.Spec.podSpec
	case o.Spec.JobTemplate != nil && o.Spec.JobTemplate.Spec.Template != nil:
		return &o.Spec.JobTemplate.Spec.Template.Spec
	case o.Spec.Template != nil:
		return &o.Spec.Template.Spec
	case o.Template != nil:
		return &o.Template.Spec
	}
	return nil
}

// use is one place that names an image.
type use struct{ by, image string }

func (p *podSpec) uses() []use {
	var all []use
	for _, list := range []struct {
		by  string
		all []container
	}{{"init container", p.InitContainers}, {"container", p.Containers}, {"ephemeral container", p.EphemeralContainers}} {
		for _, c := range list.all {
			all = append(all, use{list.by + " " + clip(c.Name, 63), c.Image})
		}
	}
	for _, v := range p.Volumes {
		if v.Image != nil {
			all = append(all, use{"image volume " + clip(v.Name, 63), v.Image.Reference})
		}
	}
	return all
}

// read finds the images that a request brings in.
func (r *Review) read(req *admissionv1.AdmissionRequest) {
	switch req.Operation {
	case admissionv1.Create, admissionv1.Update:
	case admissionv1.Delete, admissionv1.Connect:
		r.Nothing = "a request to " + strings.ToLower(string(req.Operation)) + " brings no image in"
		return
	default:
		r.Problem = &Problem{ruleKind, fmt.Sprintf("the operation %q is not known here", r.Target.Operation)}
		return
	}
	if req.SubResource != "" && req.SubResource != "ephemeralcontainers" {
		r.Nothing = "the subresource " + r.Target.Subresource + " brings no image in"
		return
	}
	uses, generated, problem := usesOf(req.Object.Raw, r.Target.Kind)
	if r.Target.Name == "" {
		r.Target.Name = generated
	}
	if problem != "" {
		r.Problem = &Problem{ruleKind, problem}
		return
	}
	if len(uses) > MaxContainers {
		r.Problem = &Problem{ruleLimit, fmt.Sprintf("it names %d containers and image volumes; at most %d are judged", len(uses), MaxContainers)}
		return
	}
	var old []use
	if req.Operation == admissionv1.Update {
		old, _, _ = usesOf(req.OldObject.Raw, r.Target.Kind) // what cannot be read holds no image that was judged before
	}
	r.take(uses, old)
}

// usesOf reads an object: who names images in it, its generated name, and why it cannot be read.
func usesOf(raw []byte, kind string) (uses []use, generated, problem string) {
	if len(raw) == 0 {
		return nil, "", "the review holds no object"
	}
	var o object
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &o); err != nil {
		return nil, "", "the object cannot be read: " + clip(err.Error(), 300)
	}
	generated = clip(o.Metadata.Name, maxTargetText)
	if generated == "" {
		generated = clip(o.Metadata.GenerateName, maxTargetText)
	}
	pod := o.pod(kind)
	if pod == nil {
		return nil, generated, fmt.Sprintf("kind %s holds no pod template where one is known to be; take it out of the webhook's rules if it runs nothing", kind)
	}
	return pod.uses(), generated, ""
}

// take keeps the images that the old object did not name, each once.
func (r *Review) take(uses, old []use) {
	at := map[string]int{}
	for _, u := range uses {
		if slices.ContainsFunc(old, func(o use) bool { return o.image == u.image }) {
			continue
		}
		i, seen := at[u.image]
		if !seen {
			i = len(r.Images)
			at[u.image] = i
			r.Images = append(r.Images, ParseImage(u.image))
		}
		r.Images[i].Containers = append(r.Images[i].Containers, u.by)
	}
	switch {
	case len(r.Images) > 0:
	case len(uses) == 0:
		r.Nothing = "it names no image"
	default:
		r.Nothing = "no image changes"
	}
}

// ParseImage reads an image reference as a container runtime does. One that cannot
// be read is an Image too: the decision about it says why.
func ParseImage(ref string) Image {
	img := Image{Reference: clip(ref, MaxReference)}
	if ref == "" {
		img.problem = "no image is named"
		return img
	}
	if len(ref) > MaxReference {
		img.problem = fmt.Sprintf("the image reference has %d bytes; at most %d are accepted", len(ref), MaxReference)
		return img
	}
	parsed, err := name.ParseReference(ref, name.WeakValidation)
	if err != nil {
		img.problem = "it is not an image reference such as registry.example/shop/web@sha256:…: " + clip(err.Error(), 200)
		return img
	}
	img.Repository = repository(parsed.Context().Name())
	if d, ok := parsed.(name.Digest); ok {
		if img.Digest, err = assay.ParseDigest(d.DigestStr()); err != nil {
			img.problem = "its digest is not of SHA-256, which is what attestations are about here"
		}
	}
	return img
}

// hub is where names without a registry lie.
const hub = "docker.io/"

// repository writes Docker Hub as people do.
func repository(s string) string {
	if rest, ok := strings.CutPrefix(s, "index.docker.io/"); ok {
		return hub + rest
	}
	return s
}

// clip keeps at most n bytes of printable text.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	if len(s) <= n {
		return s
	}
	cut := n - len("…")
	for cut > 0 && s[cut]&0xc0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}
