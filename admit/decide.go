package admit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/artifact"
	"assay.dev/assay/attest"
	"assay.dev/assay/gate"
	"assay.dev/assay/policy"
)

// MaxListed is how many objections, and how many images, a decision lists. It
// counts all of them.
const MaxListed = 100

// Rules that every door has, besides those of its requirements.
const (
	ruleTag       = "tag"       // the image is named by a tag that stands for no digest here
	ruleUncovered = "uncovered" // no requirement covers the image
	ruleFault     = "fault"     // what is known could not be read: the failure policy decides
	ruleReference = "reference" // the image's name cannot be read
	ruleKind      = "kind"      // the object cannot be read: the failure policy decides
	ruleLimit     = "limit"     // the object names too much
)

// Inputs are all that a decision is made of.
type Inputs struct {
	ID         assay.FactID // of the decision
	Door       policy.Admission
	Policy     assay.PolicyRef
	Review     Review
	Known      map[string]Material // by Image.Reference
	Trust      attest.TrustPolicy
	Exceptions []assay.Exception
	Revoked    map[string]bool // ids of exceptions that verdicts may rest on and that were taken back
	Now        time.Time
}

// Material is what is known of one image.
type Material struct {
	Digest assay.Digest // its own, or what its tag stood for when it was judged; "" if unknown
	Judged []Judged     // the newest verdict of each gate and environment
	Fault  string       // why what is known could not be read, "" if it could
}

// Judged is one signed verdict, and the bundle that holds it.
type Judged struct {
	artifact.Judgement
	Data     []byte
	Recorded time.Time // by the installation; only of what a revoked key signed, else zero
}

// Result is what became of one image.
type Result struct {
	Image
	Basis string `json:"basis,omitempty"` // why it may run: the verdict, or the policy's reason
}

// Decision is the answer of one door about one target. It is a pure function of its Inputs.
type Decision struct {
	ID          assay.FactID    `json:"id"`
	Door        string          `json:"door"`
	Namespace   string          `json:"namespace"` // of the door: the tenant
	Environment string          `json:"environment"`
	Mode        assay.Mode      `json:"mode"`
	Policy      assay.PolicyRef `json:"policy"`
	Time        time.Time       `json:"time"`
	Target      Target          `json:"target"`

	Outcome assay.Outcome `json:"outcome"` // what the attestations say, whatever the mode
	Allowed bool          `json:"allowed"`
	Skipped string        `json:"skipped,omitempty"` // why nothing was judged, "" if something was

	Images     []Result             `json:"images,omitempty"` // the first MaxListed
	ImageCount int                  `json:"image_count"`
	Violations []assay.Violation    `json:"violations,omitempty"` // the first MaxListed, excused ones included
	Objections int                  `json:"objections"`           // all that nothing excuses
	Exceptions []assay.ExceptionUse `json:"exceptions,omitempty"`
	Warnings   []string             `json:"warnings,omitempty"`

	rests bool // a verdict that let an image in rests on an exception
}

// deciding is a decision under way.
type deciding struct {
	in     Inputs
	out    Decision
	faults int // objections that are our own fault, not the image's
	failed bool
	used   map[string]*excused
	order  []string
}

// excused collects what one exception is used for.
type excused struct {
	e     assay.Exception
	rules []string
}

// Decide judges the images of a review. It reads no clock and does no I/O.
func Decide(in Inputs) Decision {
	d := &deciding{in: in, used: map[string]*excused{}, out: Decision{
		ID: in.ID, Door: in.Door.Metadata.Name, Namespace: in.Door.Metadata.Namespace, Environment: in.Door.Spec.Environment,
		Mode: in.Door.Spec.Mode, Policy: in.Policy, Time: in.Now.UTC(), Target: in.Review.Target,
		Outcome: assay.OutcomePass, Allowed: true, ImageCount: len(in.Review.Images),
	}}
	if why := skips(in); why != "" {
		d.out.Skipped = why
		return d.out
	}
	if p := in.Review.Problem; p != nil {
		d.object(Image{}, p.Rule, p.Message, "", assay.OutcomeFail)
	}
	for _, img := range in.Review.Images {
		res := d.image(img)
		if len(d.out.Images) < MaxListed {
			d.out.Images = append(d.out.Images, res)
		}
	}
	d.conclude()
	return d.out
}

// skips says why a door has nothing to judge in a review.
func skips(in Inputs) string {
	switch {
	case in.Review.Nothing != "":
		return in.Review.Nothing
	case in.Door.Spec.Mode == assay.ModeOff:
		return "door " + in.Door.Metadata.Name + " is off"
	case !in.Door.Guards(in.Review.Target.Namespace):
		return fmt.Sprintf("door %s does not guard namespace %q", in.Door.Metadata.Name, in.Review.Target.Namespace)
	}
	return ""
}

// image judges one image and returns it with its digest and why it may run.
func (d *deciding) image(img Image) Result {
	res := Result{Image: img}
	if img.problem != "" {
		d.object(img, ruleReference, img.problem, "name the image by its digest: repository@sha256:…", assay.OutcomeFail)
		return res
	}
	spec := d.in.Door.Spec
	m := d.in.Known[img.Reference]
	if reason, ok := d.free(img); ok {
		res.Basis = "needs no attestation: " + clip(reason, 200)
		return res
	}
	if img.Digest == "" && !d.tag(&img, m) {
		return res
	}
	res.Digest = img.Digest
	covered := false
	var grounds []string
	for _, r := range spec.Requires {
		if len(r.Images) > 0 && !slices.ContainsFunc(r.Images, func(p string) bool { return matches(p, img) }) {
			continue
		}
		covered = true
		if ground := d.require(img, r, m); ground != "" {
			grounds = append(grounds, ground)
		}
	}
	if !covered {
		d.object(img, ruleUncovered, "no requirement of the policy covers it", "add a requirement or an allowed image to the door", assay.OutcomeFail)
	}
	res.Basis = strings.Join(grounds, "; ")
	return res
}

// tag gives an image that is named by a tag its digest, or objects.
func (d *deciding) tag(img *Image, m Material) bool {
	switch {
	case m.Fault != "" && d.in.Door.Spec.Tags == policy.TagsResolved:
		d.object(*img, ruleFault, "what is known of it could not be read: "+clip(m.Fault, 300), "", assay.OutcomeAbsent)
		return false
	case d.in.Door.Spec.Tags != policy.TagsResolved && m.Digest != "":
		d.object(*img, ruleTag, "it is named by a tag, which can be moved", fmt.Sprintf("write %s@%s", img.Repository, m.Digest), assay.OutcomeFail)
		return false
	case d.in.Door.Spec.Tags != policy.TagsResolved:
		d.object(*img, ruleTag, "it is named by a tag, which can be moved", "name it by its digest: "+img.Repository+"@sha256:…", assay.OutcomeFail)
		return false
	case m.Digest == "":
		d.object(*img, ruleTag, "no gate has judged anything under this name, so its tag stands for no digest here",
			"name it by its digest: "+img.Repository+"@sha256:…", assay.OutcomeAbsent)
		return false
	}
	img.Digest = m.Digest
	d.warn(fmt.Sprintf("%s was judged as %s…; pin it: a tag can be moved", last(img.Reference), m.Digest[:min(len(m.Digest), 19)]))
	return true
}

// last is the end of a reference, which tells most in a short line.
func last(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// free reports whether the policy lists the image as one that needs no attestation.
func (d *deciding) free(img Image) (reason string, ok bool) {
	for _, a := range d.in.Door.Spec.Allow {
		if matches(a.Images, img) {
			return a.Reason, true
		}
	}
	return "", false
}

// matches reports whether an image is what a pattern of the policy names.
func matches(pattern string, img Image) bool {
	pattern = repository(pattern)
	if folder, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(img.Repository, folder+"/")
	}
	if repo, digest, ok := strings.Cut(pattern, "@"); ok {
		return img.Repository == repo && img.Digest == assay.Digest(digest)
	}
	return img.Repository == pattern
}

// require holds one requirement against an image. It returns why it holds, or objects.
func (d *deciding) require(img Image, r policy.AdmissionRequire, m Material) string {
	if m.Fault != "" {
		d.object(img, ruleFault, "what is known of it could not be read: "+clip(m.Fault, 300), "", assay.OutcomeAbsent)
		return ""
	}
	env := d.in.Door.Spec.Environment
	remedy := fmt.Sprintf("run the gate and attest: assay attest --gate %s --name %s --digest %s --environment %s", r.Gate, clip(img.Reference, 120), img.Digest, env)
	j, ok := newest(m.Judged, r.Gate, env)
	if !ok {
		why := fmt.Sprintf("nothing attests that gate %s let it into %s", r.Gate, env)
		if len(m.Judged) == 0 {
			why = fmt.Sprintf("nothing is known of this digest; gate %s must have let it into %s", r.Gate, env)
		}
		d.object(img, r.Name, why, remedy, assay.OutcomeAbsent)
		return ""
	}
	if j.Outcome != assay.OutcomePass {
		d.object(img, r.Name, fmt.Sprintf("the newest verdict of gate %s about it, of %s, is %s", r.Gate, stamp(j.Time), j.Outcome),
			"see what the gate found: assay ledger facts --kind gate.verdict --subject "+string(img.Digest)+"; fix it and attest the new build", j.Outcome)
		return ""
	}
	if why := d.verify(img, r, j); why != "" {
		d.object(img, r.Name, fmt.Sprintf("the attestation of gate %s does not hold: %s", r.Gate, clip(why, 500)), remedy, assay.OutcomeFail)
		return ""
	}
	return fmt.Sprintf("gate %s let it pass at %s (%s)", r.Gate, stamp(j.Time), j.Bundle)
}

// newest finds the verdict that counts: the one for this environment, else the one
// of a run that named none.
func newest(all []Judged, gateName, env string) (Judged, bool) {
	for _, e := range []string{env, ""} {
		i := slices.IndexFunc(all, func(j Judged) bool { return j.Gate == gateName && j.Environment == e })
		if i >= 0 {
			return all[i], true
		}
	}
	return Judged{}, false
}

// verify checks the signed bundle itself; the index is only where it was found. It
// returns why the bundle does not hold, "" if it does.
func (d *deciding) verify(img Image, r policy.AdmissionRequire, j Judged) string {
	report := attest.Verify(j.Data, d.in.Trust, attest.Expect{
		Subject: string(img.Digest), ResourceURI: r.ResourceURI, Levels: r.Levels, MaxAge: r.MaxAge.Value(), Recorded: j.Recorded,
	}, d.in.Now)
	for _, s := range report.Steps {
		if !s.OK {
			return fmt.Sprintf("step %d (%s): %s", s.N, s.Name, s.Detail)
		}
	}
	sum, env := report.Summary, d.in.Door.Spec.Environment
	switch g := sum.Gate; {
	case g == nil || g.Gate != r.Gate:
		return "it is not signed as gate " + r.Gate
	case g.Environment != "" && g.Environment != env:
		return fmt.Sprintf("it is for environment %q; this door is of %s", g.Environment, env)
	case len(r.Verifiers) > 0 && !slices.Contains(r.Verifiers, sum.Verifier.ID):
		return fmt.Sprintf("it is of verifier %q, whom this requirement does not believe", sum.Verifier.ID)
	}
	for _, x := range sum.Exceptions {
		d.out.rests = true
		if d.in.Revoked[x.ID] {
			return fmt.Sprintf("the verdict rests on exception %s, which was revoked", x.ID)
		}
		if !d.in.Now.Before(x.ValidUntil) {
			return fmt.Sprintf("the verdict rests on exception %s, which ended at %s", x.ID, stamp(x.ValidUntil))
		}
	}
	return ""
}

// object adds an objection, unless an exception excuses it.
func (d *deciding) object(img Image, rule, message, remedy string, outcome assay.Outcome) {
	v := assay.Violation{
		Rule: d.in.Door.Metadata.Name + "/" + rule, Severity: assay.SeverityHigh, Message: message, Remedy: remedy, Mode: d.in.Door.Spec.Mode,
		Location: assay.Location{File: img.Reference},
	}
	if img.Reference != "" {
		v.Message = fmt.Sprintf("image %s (%s): %s", img.Reference, by(img.Containers), message)
	}
	if e, ok := d.excuse(v, img); ok {
		v.Exception = e.ID
		u := d.used[e.ID]
		if u == nil {
			u = &excused{e: e}
			d.used[e.ID] = u
			d.order = append(d.order, e.ID)
		}
		if !slices.Contains(u.rules, v.Rule) {
			u.rules = append(u.rules, v.Rule)
		}
	} else {
		d.out.Objections++
		if rule == ruleFault || rule == ruleKind {
			d.faults++
		}
		d.failed = d.failed || outcome == assay.OutcomeFail
	}
	if len(d.out.Violations) < MaxListed {
		d.out.Violations = append(d.out.Violations, v)
	}
}

// excuse asks the gates' own evaluator, by the image's name and by the target's:
// an exception may be about an artifact or about a place in the cluster.
func (d *deciding) excuse(v assay.Violation, img Image) (assay.Exception, bool) {
	for _, name := range []string{img.name(), d.in.Review.Target.path()} {
		e, ok := gate.Excuse(d.in.Exceptions, gate.Case{
			Namespace: d.in.Door.Metadata.Namespace, Environment: d.in.Door.Spec.Environment, Rule: v.Rule,
			Subject: assay.Subject{Name: name, Digest: img.Digest},
			Package: assay.Component{Name: img.Repository},
		}, d.in.Now)
		if ok {
			return e, true
		}
	}
	return assay.Exception{}, false
}

// conclude turns objections into an answer.
func (d *deciding) conclude() {
	o := &d.out
	slices.Sort(d.order)
	for _, id := range d.order {
		u := d.used[id]
		slices.Sort(u.rules)
		o.Exceptions = append(o.Exceptions, gate.Use(u.e, u.rules))
	}
	switch {
	case o.Objections == 0:
	case d.failed:
		o.Outcome = assay.OutcomeFail
	default:
		o.Outcome = assay.OutcomeAbsent
	}
	open := o.Objections > 0 && o.Objections == d.faults && d.in.Door.Spec.FailurePolicy == policy.FailOpen
	o.Allowed = o.Objections == 0 || o.Mode != assay.ModeEnforce || open
	if open && o.Mode == assay.ModeEnforce {
		d.warn("admitted although its attestations could not be read: the door fails open")
	}
	for _, x := range o.Exceptions {
		d.warn(fmt.Sprintf("admitted by exception %s until %s", x.ID, stamp(x.ValidUntil)))
	}
	if o.Mode == assay.ModeWarn {
		for _, v := range o.Violations {
			if v.Exception == "" {
				d.warn(v.Rule + ": " + v.Message)
			}
		}
	}
}

// Limits of warnings: Kubernetes asks for at most 120 characters each.
const (
	maxWarning  = 120
	maxWarnings = 20
)

func (d *deciding) warn(text string) {
	if len(d.out.Warnings) < maxWarnings {
		d.out.Warnings = append(d.out.Warnings, clip(text, maxWarning))
	}
}

// by names who uses an image, the first few of them.
func by(containers []string) string {
	const few = 3
	switch n := len(containers); {
	case n == 0:
		return "asked for by name"
	case n <= few:
		return strings.Join(containers, ", ")
	default:
		return fmt.Sprintf("%s and %d more", strings.Join(containers[:few], ", "), n-few)
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// maxMessage bounds the text of a denial, in bytes.
const maxMessage = 2000

// Message is a denial in words: each objection with what to do about it, and where to find the decision.
func (d Decision) Message() string {
	var b strings.Builder
	listed := 0
	for _, v := range d.Violations {
		if v.Exception != "" || b.Len() > maxMessage/2 {
			continue
		}
		if listed > 0 {
			b.WriteString("; ")
		}
		listed++
		fmt.Fprintf(&b, "%s: %s", v.Rule, v.Message)
		if v.Remedy != "" {
			fmt.Fprintf(&b, " (%s)", v.Remedy)
		}
	}
	if more := d.Objections - listed; more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	tail := fmt.Sprintf(". Decision %s of policy %s", d.ID, d.Policy.Digest)
	return clip(b.String(), maxMessage-len(tail)) + tail
}
