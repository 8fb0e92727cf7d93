package kubernetes

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/kube"
)

// Limits of what is moved.
const (
	// MaxMoves is how many objects one door may move.
	MaxMoves = 500
	// MaxReplicas is the most replicas that an object is given.
	MaxReplicas = 10_000
	// MaxAnswer is the largest answer of an API server that is read, in bytes.
	MaxAnswer = 8 << 20
	// MaxTimeout is the longest that one action may take: strategies wait no longer, and ask
	// again at their next look.
	MaxTimeout = 10 * time.Second
)

// DefaultTimeout is the Options' time for one action.
const DefaultTimeout = 5 * time.Second

// Kind is what a lever moves an object of.
type Kind string

// Kinds and the levers that they have.
const (
	Deployment  Kind = "deployment"              // assay.LeverReplicas: spec.replicas
	StatefulSet Kind = "statefulSet"             // assay.LeverReplicas: spec.replicas
	Autoscaler  Kind = "horizontalPodAutoscaler" // assay.LeverReplicas: spec.minReplicas
	CronJob     Kind = "cronJob"                 // assay.LeverClass: 0 suspends it with its Jobs, 100 does not
	Job         Kind = "job"                     // assay.LeverClass: 0 suspends it, 100 does not
)

// resources are the paths of kinds below their namespace, before and after its name.
var resources = map[Kind][2]string{
	Deployment:  {"/apis/apps/v1/namespaces/", "/deployments"},
	StatefulSet: {"/apis/apps/v1/namespaces/", "/statefulsets"},
	Autoscaler:  {"/apis/autoscaling/v2/namespaces/", "/horizontalpodautoscalers"},
	CronJob:     {"/apis/batch/v1/namespaces/", "/cronjobs"},
	Job:         {"/apis/batch/v1/namespaces/", "/jobs"},
}

// runs reports whether the kind is let run or not, and has no number.
func (k Kind) runs() bool { return k == CronJob || k == Job }

// Move is one lever of a service and the object that it moves.
type Move struct {
	Service string
	Lever   assay.Lever
	Scope   string // "" if the lever has none
	Kind    Kind
	Name    string // of the object
	// Least and Most bound the replicas, whatever is asked for; of jobs both are 0.
	Least, Most int
}

// object names what is moved, for people.
func (m Move) object() string { return string(m.Kind) + "/" + m.Name }

// Options say what is moved, and where.
type Options struct {
	Access    kube.Access
	Namespace string
	Moves     []Move
	Timeout   time.Duration    // for one action with its repetitions; 0 is DefaultTimeout
	Now       func() time.Time // nil is time.Now
}

var dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// check says what is wrong with a move, and in which field.
func (m Move) check() (field string, err error) {
	switch {
	case m.Service == "":
		return "service", assay.Errorf(assay.CodeInvalid, "is empty: name the service whose lever this is")
	case resources[m.Kind] == [2]string{}:
		return "", assay.Errorf(assay.CodeInvalid, "names not one object: expected one of deployment, statefulSet, horizontalPodAutoscaler, cronJob and job")
	case !dnsName.MatchString(m.Name):
		return string(m.Kind), assay.Errorf(assay.CodeInvalid, "%q is no name of an object", m.Name)
	case m.Kind.runs() && m.Lever != assay.LeverClass:
		return "lever", assay.Errorf(assay.CodeInvalid, "is %q: a %s is stopped and let run by %s", m.Lever, m.Kind, assay.LeverClass)
	case m.Kind.runs() && (m.Least != 0 || m.Most != 0):
		return "most", assay.Errorf(assay.CodeInvalid, "bounds replicas, and a %s has none", m.Kind)
	case m.Kind.runs():
		return "", nil
	case m.Lever != assay.LeverReplicas:
		return "lever", assay.Errorf(assay.CodeInvalid, "is %q: a %s has the lever %s", m.Lever, m.Kind, assay.LeverReplicas)
	case m.Least < 0 || m.Most < 1 || m.Most < m.Least || m.Most > MaxReplicas:
		return "most", assay.Errorf(assay.CodeInvalid, "is %[2]d with least %[1]d: say between how many replicas it may move, at most %[3]d", m.Least, m.Most, MaxReplicas)
	}
	return "", nil
}

// Check says what is wrong with what is declared: the index of the move, its field, and why;
// index -1 if it is about all of them, and a nil error if nothing is.
func (o Options) Check() (index int, field string, err error) {
	switch {
	case !dnsName.MatchString(o.Namespace):
		return -1, "namespace", assay.Errorf(assay.CodeInvalid, "%q is no name of a namespace", o.Namespace)
	case len(o.Moves) == 0 || len(o.Moves) > MaxMoves:
		return -1, "moves", assay.Errorf(assay.CodeInvalid, "has %d entries: expected 1 to %d", len(o.Moves), MaxMoves)
	case o.Timeout < 0 || o.Timeout > MaxTimeout:
		return -1, "timeout", assay.Errorf(assay.CodeInvalid, "a timeout of %s is not within %s", o.Timeout, MaxTimeout)
	}
	for i, m := range o.Moves {
		if field, err := m.check(); err != nil {
			return i, field, err
		}
		for _, other := range o.Moves[:i] {
			switch {
			case other.Kind == m.Kind && other.Name == m.Name:
				return i, string(m.Kind), assay.Errorf(assay.CodeInvalid, "%q is moved by another entry already; one lever moves one object", m.Name)
			case other.Service == m.Service && other.Lever == m.Lever && other.Scope == m.Scope:
				return i, "scope", assay.Errorf(assay.CodeInvalid, "%q of %s and service %s is declared before; one lever moves one object", m.Scope, m.Lever, m.Service)
			}
		}
	}
	return 0, "", nil
}

// Client moves what its Options declare. It implements act.Actuator and act.Levers and is
// safe for concurrent use.
type Client struct {
	o   Options
	api *kube.Client
}

// New makes a Client. Nothing is sent yet.
func New(o Options) (*Client, error) {
	if _, _, err := o.Check(); err != nil {
		return nil, err
	}
	api, err := kube.New(o.Access)
	if err != nil {
		return nil, err
	}
	o.Timeout, o.Moves = cmp.Or(o.Timeout, DefaultTimeout), slices.Clone(o.Moves)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Client{o: o, api: api}, nil
}

// path is where an object of the door's namespace is, or all of a kind if name is "".
func (c *Client) path(k Kind, name string) string {
	r := resources[k]
	p := r[0] + url.PathEscape(c.o.Namespace) + r[1]
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}
