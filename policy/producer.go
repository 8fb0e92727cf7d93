package policy

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// MaxKeys is how many keys a producer may have.
const MaxKeys = 16

// Producer is somebody whose signature on a report is known: a scanner, a build, a
// supplier. Gates name producers to say whose reports and whose VEX they accept.
type Producer struct {
	// APIVersion is always assay.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind is always Producer.
	Kind string `json:"kind"`
	// Metadata names the producer; gates name it so.
	Metadata Metadata `json:"metadata"`
	// Spec says how its signatures are known.
	Spec ProducerSpec `json:"spec"`

	Place Place `json:"-"`
}

// ProducerSpec says how the signatures of a producer are known.
type ProducerSpec struct {
	// Keys are public keys in PEM, as cosign and openssl write them. A signature of any of them is the producer's.
	Keys []string `json:"keys"`
}

func (p *Producer) defaults() {
	if p.Metadata.Namespace == "" {
		p.Metadata.Namespace = DefaultNamespace
	}
}

func (p Producer) check(d strict.Document) error {
	if err := p.Metadata.check(d); err != nil {
		return err
	}
	at := []string{"spec", "keys"}
	if n := len(p.Spec.Keys); n == 0 || n > MaxKeys {
		return d.Errorf(at, "has %d entries; expected 1 to %d public keys", n, MaxKeys)
	}
	for i, key := range p.Spec.Keys {
		block, rest := pem.Decode([]byte(key))
		if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
			return d.Errorf(append(slices.Clone(at), strconv.Itoa(i)), "is not one public key in PEM (-----BEGIN PUBLIC KEY-----)")
		}
		if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
			return d.Errorf(append(slices.Clone(at), strconv.Itoa(i)), "is not a public key: %v", err)
		}
	}
	return nil
}

// Producers returns the producers of a namespace, in the order of their files.
func (r *Revision) Producers(namespace string) []Producer {
	var own []Producer
	for _, p := range r.producers {
		if p.Metadata.Namespace == namespace {
			own = append(own, p)
		}
	}
	return own
}

// produced refuses a gate that names a producer nobody knows: it could accept nothing.
func (r *Revision) produced(g Gate) error {
	var known []string
	for _, p := range r.Producers(g.Metadata.Namespace) {
		known = append(known, p.Metadata.Name)
	}
	check := func(field string, names []string) error {
		for _, name := range names {
			if slices.Contains(known, name) {
				continue
			}
			e := assay.Errorf(assay.CodeInvalid, "names Producer %q, which is not declared in namespace %s", name, g.Metadata.Namespace)
			e.File, e.Line, e.Column, e.Field = g.Place.File, g.Place.Line, 1, field
			if s := strict.Suggest(name, known); s != "" {
				e.Hint = fmt.Sprintf("did you mean %q?", s)
			}
			return e
		}
		return nil
	}
	if v := g.Spec.VEX; v != nil {
		if err := check("spec.vex.producers", v.Producers); err != nil {
			return err
		}
	}
	for i, q := range g.Spec.Requires {
		if err := check(fmt.Sprintf("spec.requires[%d].producers", i), q.Producers); err != nil {
			return err
		}
	}
	return nil
}
