package kubernetes

import (
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/internal/kube"
)

// Declared is a door of this kind as a file of doors has it.
type Declared struct {
	Config    string  `json:"config"`    // path of a kubeconfig file, or kube.InCluster
	Namespace string  `json:"namespace"` // of all that it moves
	Moves     []Entry `json:"moves"`
}

// Entry is a Move as a file of doors has it: one of the kinds names the object.
type Entry struct {
	Service     string      `json:"service"`
	Lever       assay.Lever `json:"lever"`
	Scope       string      `json:"scope,omitempty"`
	Deployment  string      `json:"deployment,omitempty"`
	StatefulSet string      `json:"statefulSet,omitempty"`
	Autoscaler  string      `json:"horizontalPodAutoscaler,omitempty"`
	CronJob     string      `json:"cronJob,omitempty"`
	Job         string      `json:"job,omitempty"`
	Least       int         `json:"least,omitempty"`
	Most        int         `json:"most,omitempty"`
}

// move is what the entry declares, of no kind unless it names one object.
func (e Entry) move() Move {
	m := Move{Service: e.Service, Lever: e.Lever, Scope: e.Scope, Least: e.Least, Most: e.Most}
	named := 0
	for kind, name := range map[Kind]string{Deployment: e.Deployment, StatefulSet: e.StatefulSet, Autoscaler: e.Autoscaler, CronJob: e.CronJob, Job: e.Job} {
		if name != "" {
			m.Kind, m.Name, named = kind, name, named+1
		}
	}
	if named != 1 {
		m.Kind = ""
	}
	return m
}

// options are those that are declared, without how the cluster is reached.
func (d Declared) options(timeout time.Duration) Options {
	o := Options{Namespace: d.Namespace, Timeout: timeout}
	for _, e := range d.Moves {
		o.Moves = append(o.Moves, e.move())
	}
	return o
}

// Check says what is wrong with what is declared, and where: a path below the door, for
// example moves, 3, lever. A nil error if nothing is.
func (d Declared) Check() (path []string, err error) {
	if strings.TrimSpace(d.Config) == "" {
		return []string{"config"}, assay.Errorf(assay.CodeInvalid, "is empty: name a kubeconfig file, or %s", kube.InCluster)
	}
	index, field, err := d.options(0).Check()
	if index >= 0 {
		path = []string{"moves", strconv.Itoa(index)}
	}
	if field != "" {
		path = append(path, field)
	}
	return path, err
}

// Open makes a Client of what is declared. Files are read, and nothing is sent yet.
func Open(d Declared, timeout time.Duration) (*Client, error) {
	access, err := kube.Open(d.Config)
	if err != nil {
		return nil, err
	}
	o := d.options(timeout)
	o.Access = access
	return New(o)
}
