package ledger

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"

	"assay.dev/assay"
	"golang.org/x/mod/sumdb/note"
)

// Limits of a policy file.
const (
	// MaxWitnessPolicy is the largest policy file in bytes.
	MaxWitnessPolicy = 256 << 10
	// MaxWitnesses is the largest number of witnesses, and of groups, in one policy.
	MaxWitnesses = 64
)

// WitnessPolicy says which logs are spoken of, which witnesses there are, and how
// many of them must have cosigned a head: a C2SP tlog-policy file.
type WitnessPolicy struct {
	Logs      []string  // the logs' vkeys
	Witnesses []Witness // in the file's order

	names  map[keyID]string
	groups map[string]group
	quorum string // a witness, a group, or none
}

// Witness is one witness of a policy.
type Witness struct {
	Name     string // in the policy
	Verifier note.Verifier
	URL      string // where to ask for cosignatures; "" if the policy does not say
}

type keyID struct {
	name string
	hash uint32
}

type group struct {
	threshold int
	members   []string
}

// noQuorum is the quorum that every head meets.
const noQuorum = "none"

// ParseWitnessPolicy reads a policy file. Its lines are
//
//	log VKEY [URL]
//	witness NAME VKEY [URL]
//	group NAME N|any|all MEMBER…
//	quorum NAME|none
//
// in any order as long as a member is defined before its group; # begins a comment.
func ParseWitnessPolicy(raw []byte) (*WitnessPolicy, error) {
	if len(raw) > MaxWitnessPolicy {
		return nil, tooLarge("witness policy", len(raw), MaxWitnessPolicy)
	}
	p := &WitnessPolicy{names: map[keyID]string{}, groups: map[string]group{}}
	number := 0
	for line := range bytes.Lines(raw) {
		number++
		text, _, _ := strings.Cut(string(line), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if err := p.line(fields); err != nil {
			err.Line = number
			return nil, err
		}
	}
	if p.quorum == "" {
		e := assay.Errorf(assay.CodeInvalid, "witness policy names no quorum")
		e.Hint = "end it with a line like: quorum none"
		return nil, e
	}
	return p, nil
}

func (p *WitnessPolicy) line(f []string) *assay.Error {
	switch f[0] {
	case "log":
		return p.log(f)
	case "witness":
		return p.witness(f)
	case "group":
		return p.group(f)
	case "quorum":
		if len(f) != 2 || p.quorum != "" {
			return assay.Errorf(assay.CodeInvalid, "expected one line: quorum NAME")
		}
		if f[1] != noQuorum && !p.defined(f[1]) {
			return assay.Errorf(assay.CodeInvalid, "quorum %q is neither a witness nor a group defined before it, nor none", clip(f[1]))
		}
		p.quorum = f[1]
		return nil
	}
	e := assay.Errorf(assay.CodeInvalid, "%q is not a line of a witness policy", clip(f[0]))
	e.Hint = "lines begin with log, witness, group or quorum"
	return e
}

func (p *WitnessPolicy) log(f []string) *assay.Error {
	if len(f) < 2 || len(f) > 3 || len(p.Logs) == MaxWitnesses {
		return assay.Errorf(assay.CodeInvalid, "expected: log VKEY [URL], at most %d times", MaxWitnesses)
	}
	if _, _, err := parseVerifier(f[1]); err != nil {
		return assay.Errorf(assay.CodeInvalid, "log: %w", err)
	}
	p.Logs = append(p.Logs, f[1])
	return nil
}

func (p *WitnessPolicy) witness(f []string) *assay.Error {
	if len(f) < 3 || len(f) > 4 || len(p.Witnesses) == MaxWitnesses {
		return assay.Errorf(assay.CodeInvalid, "expected: witness NAME VKEY [URL], at most %d times", MaxWitnesses)
	}
	if err := p.free(f[1]); err != nil {
		return err
	}
	v, err := ParseWitnessKey(f[2])
	if err != nil {
		return assay.Errorf(assay.CodeInvalid, "witness %s: %w", clip(f[1]), err)
	}
	w := Witness{Name: f[1], Verifier: v}
	if len(f) == 4 {
		u, err := url.Parse(f[3])
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return assay.Errorf(assay.CodeInvalid, "witness %s: %q is not an absolute http or https URL without query", clip(f[1]), clip(f[3]))
		}
		w.URL = strings.TrimSuffix(u.String(), "/") + "/add-checkpoint"
	}
	id := keyID{v.Name(), v.KeyHash()}
	if p.names[id] != "" { // one witness must not count twice
		return assay.Errorf(assay.CodeInvalid, "witness %s has the key of witness %s", clip(f[1]), p.names[id])
	}
	p.names[id] = w.Name
	p.Witnesses = append(p.Witnesses, w)
	return nil
}

func (p *WitnessPolicy) group(f []string) *assay.Error {
	if len(f) < 4 || len(f)-3 > MaxWitnesses || len(p.groups) == MaxWitnesses {
		return assay.Errorf(assay.CodeInvalid, "expected: group NAME N|any|all MEMBER…, at most %d of each", MaxWitnesses)
	}
	if err := p.free(f[1]); err != nil {
		return err
	}
	g := group{members: f[3:]}
	switch f[2] {
	case "any":
		g.threshold = 1
	case "all":
		g.threshold = len(g.members)
	default:
		n, err := strconv.Atoi(f[2])
		if err != nil || n < 1 || n > len(g.members) {
			return assay.Errorf(assay.CodeInvalid, "group %s: threshold %q is not any, all or a number from 1 to %d", clip(f[1]), clip(f[2]), len(g.members))
		}
		g.threshold = n
	}
	once := map[string]bool{}
	for _, m := range g.members {
		if !p.defined(m) || once[m] {
			return assay.Errorf(assay.CodeInvalid, "group %s: %q is not defined before it, or named twice", clip(f[1]), clip(m))
		}
		once[m] = true
	}
	p.groups[f[1]] = g
	return nil
}

// free refuses a name that means something already.
func (p *WitnessPolicy) free(name string) *assay.Error {
	switch name {
	case "log", "witness", "group", "quorum", "any", "all", noQuorum:
		return assay.Errorf(assay.CodeInvalid, "%q is a word of the format and cannot be a name", name)
	}
	if len(name) > 256 || p.defined(name) {
		return assay.Errorf(assay.CodeInvalid, "name %q is too long or defined twice", clip(name))
	}
	return nil
}

func (p *WitnessPolicy) defined(name string) bool {
	for _, w := range p.Witnesses {
		if w.Name == name {
			return true
		}
	}
	_, ok := p.groups[name]
	return ok
}

// satisfied reports whether the witnesses in seen make the quorum. Members are
// defined before their groups, so there is no cycle.
func (p *WitnessPolicy) satisfied(seen map[string]bool) bool {
	if p.quorum == noQuorum {
		return true
	}
	memo := map[string]bool{}
	return p.holds(p.quorum, seen, memo)
}

func (p *WitnessPolicy) holds(name string, seen, memo map[string]bool) bool {
	g, ok := p.groups[name]
	if !ok {
		return seen[name]
	}
	if known, ok := memo[name]; ok {
		return known
	}
	n := 0
	for _, m := range g.members {
		if p.holds(m, seen, memo) {
			n++
		}
	}
	memo[name] = n >= g.threshold
	return memo[name]
}

// verifiers are the witnesses' keys.
func (p *WitnessPolicy) verifiers() note.Verifiers {
	list := make([]note.Verifier, len(p.Witnesses))
	for i, w := range p.Witnesses {
		list[i] = w.Verifier
	}
	return note.VerifierList(list...)
}
