package main

import (
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/act"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/policy"
)

// Bounds of a file of doors.
const (
	maxDoorsFile = 256 << 10
	maxDoors     = 32
	maxToken     = 8 << 10
	maxRoots     = 1 << 20
)

// doorsFile is the document that names doors beside the enforcer. It is the operator's
// and no policy's: it says where tokens are sent.
type doorsFile struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Spec       []doorSpec `json:"spec"`
}

// doorSpec is one receiver, or a cluster.
type doorSpec struct {
	Name       string        `json:"name"`
	Kubernetes *clusterSpec  `json:"kubernetes,omitempty"`
	URL        string        `json:"url,omitempty"`
	TokenFile  string        `json:"tokenFile,omitempty"`
	CAFile     string        `json:"caFile,omitempty"`
	Levers     []assay.Lever `json:"levers,omitempty"`
	Services   []string      `json:"services,omitempty"`
	Timeout    string        `json:"timeout,omitempty"`
	Class      act.Class     `json:"class,omitempty"`
	Insecure   bool          `json:"insecure,omitempty"`
}

// foreign is a field of receivers that a door of a cluster has, "" if it has none.
func (s doorSpec) foreign() string {
	if s.Kubernetes == nil {
		return ""
	}
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"url", s.URL != ""}, {"tokenFile", s.TokenFile != ""}, {"caFile", s.CAFile != ""}, {"levers", len(s.Levers) > 0},
		{"services", len(s.Services) > 0}, {"class", s.Class != ""}, {"insecure", s.Insecure},
	} {
		if f.is {
			return f.name
		}
	}
	return ""
}

var doorName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// doorSpecs reads the configured file of doors; none if there is none.
func (a *app) doorSpecs() ([]doorSpec, error) {
	path := a.cfg.get("doors")
	if path == "" {
		return nil, nil
	}
	data, err := readFile(path, maxDoorsFile)
	if err != nil {
		return nil, err
	}
	specs, err := parseDoors(data)
	if err != nil {
		return nil, inFile(err, path)
	}
	return specs, nil
}

// parseDoors reads a file of doors, strictly.
func parseDoors(data []byte) ([]doorSpec, error) {
	docs, err := strict.Documents(data)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, assay.Errorf(assay.CodeInvalid, "holds %d YAML documents; expected one of kind Doors", len(docs))
	}
	var f doorsFile
	d := docs[0]
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	if f.APIVersion != assay.APIVersion || f.Kind != "Doors" {
		return nil, d.Errorf([]string{"kind"}, "is %q: expected apiVersion %s and kind Doors", f.Kind, assay.APIVersion)
	}
	if len(f.Spec) > maxDoors {
		return nil, assay.Errorf(assay.CodeTooLarge, "%d doors are declared; the limit is %d", len(f.Spec), maxDoors)
	}
	for i, s := range f.Spec {
		at := func(field string) []string { return []string{"spec", strconv.Itoa(i), field} }
		timeout, err := time.ParseDuration(s.Timeout)
		switch {
		case !doorName.MatchString(s.Name) || s.Name == policy.ProxyDoor:
			return nil, d.Errorf(at("name"), "%q is not 1 to 63 lower-case letters, digits and dashes, and not %s", s.Name, policy.ProxyDoor)
		case slices.ContainsFunc(f.Spec[:i], func(o doorSpec) bool { return o.Name == s.Name }):
			return nil, d.Errorf(at("name"), "%q is already the name of another door", s.Name)
		case s.foreign() != "":
			return nil, d.Errorf(at(s.foreign()), "is a receiver's: what a cluster is asked stands under kubernetes, in moves")
		case s.Kubernetes == nil && len(s.Levers) == 0:
			return nil, d.Errorf(at("levers"), "is empty: name the levers that it may be asked about")
		case slices.Contains(s.Levers, assay.LeverShare):
			return nil, d.Errorf(at("levers"), "name %s, which rollouts move, through the enforcer", assay.LeverShare)
		case s.Timeout != "" && (err != nil || timeout <= 0):
			return nil, d.Errorf(at("timeout"), "%q is not a positive time such as 5s", s.Timeout)
		case s.Kubernetes != nil:
			if path, err := s.Kubernetes.Check(); err != nil {
				return nil, d.Errorf(append(at("kubernetes"), path...), "%v", err)
			}
		}
	}
	return f.Spec, nil
}

// doorNames are the names of the configured doors, nil if no file is configured.
func (a *app) doorNames() ([]string, error) {
	specs, err := a.doorSpecs()
	if err != nil || a.cfg.get("doors") == "" {
		return nil, err
	}
	names := []string{}
	for _, s := range specs {
		names = append(names, s.Name)
	}
	return names, nil
}

// openDoors are the configured doors beside the enforcer, by name.
func (a *app) openDoors() (map[string]act.Actuator, error) {
	specs, err := a.doorSpecs()
	out := map[string]act.Actuator{}
	for _, s := range specs {
		pool, err := roots(s.CAFile)
		if err != nil {
			return nil, err
		}
		timeout, _ := time.ParseDuration(s.Timeout) // parseDoors has checked it; "" is the default
		if out[s.Name], err = a.newDoor(s, pool, timeout); err != nil {
			return nil, inFile(assay.Errorf(assay.CodeOf(err), "door %s: %w", s.Name, err), a.cfg.get("doors"))
		}
	}
	return out, err
}

// secret reads a door's token each time that it is sent.
func (a *app) secret(path string) func() string {
	if path == "" {
		return nil
	}
	return func() string {
		data, err := readFile(path, maxToken)
		if err != nil {
			a.log.Error("the token of a door cannot be read", "error", err)
			return ""
		}
		return strings.TrimSpace(string(data))
	}
}

// roots are the authorities of a door, nil for the machine's.
func roots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readFile(path, maxRoots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, inFile(assay.Errorf(assay.CodeInvalid, "holds no certificate in PEM"), path)
	}
	return pool, nil
}

// lintDoors says which levers of strategies that are to act nothing moves.
func (a *app) lintDoors(rev *policy.Revision) (problems []policyProblem, err error) {
	known, err := a.doorNames()
	if err != nil {
		return nil, err
	}
	for _, s := range rev.Strategies() {
		for _, found := range s.Lint(known) {
			for _, e := range flat(found) {
				p := problemOf("strategy", e)
				p.Level, p.Msg = levelWarning, fmt.Sprintf("strategy %s: %s", s.Metadata.Name, p.Msg)
				problems = append(problems, p)
			}
		}
	}
	return problems, nil
}
