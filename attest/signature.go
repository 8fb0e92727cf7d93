package attest

import (
	"fmt"
	"hash/maphash"
	"strings"

	"assay.dev/assay"
)

// Step 1: somebody trusted signed the payload. What cannot change is taken from
// the cache if it is there; who is trusted is judged anew.
func (v *verification) signature() (string, error) {
	switch {
	case len(v.policy.Keys) > MaxTrustedKeys:
		return "", tooLarge("trust policy", len(v.policy.Keys), MaxTrustedKeys)
	case len(v.policy.Identities) > MaxTrustedIdentities:
		return "", tooLarge("trust policy", len(v.policy.Identities), MaxTrustedIdentities)
	case len(v.data) == 0:
		return "", fmt.Errorf("cannot be read: there is no attestation")
	}
	known := v.recall()
	if known == nil {
		f, err := parseForm(v.data)
		if err != nil {
			return "", fmt.Errorf("cannot be read: %w", err)
		}
		if err := v.checkForm(f); err != nil {
			return "", err
		}
		if known, err = v.check(f); err != nil {
			return "", err
		}
	}
	if w := known.witness; w != nil && w.Identity != (Identity{}) {
		if err := v.policy.identify(w.Identity); err != nil {
			return "", err
		}
		v.doc = known
		return known.says, nil
	}
	return v.bySufficientKeys(known)
}

// bySufficientKeys counts the trusted keys whose signatures hold, each once.
func (v *verification) bySufficientKeys(known *document) (string, error) {
	counted := make(map[string]bool, len(v.policy.Keys))
	for _, k := range v.policy.Keys {
		if id := k.Key.KeyID(); known.by[id] && !counted[id] {
			counted[id] = true
			v.keyIDs = append(v.keyIDs, id)
		}
	}
	if need := max(1, v.policy.Threshold); len(v.keyIDs) < need {
		return "", assay.Errorf(assay.CodeUnverified, "%d trusted key(s) signed; expected at least %d", len(v.keyIDs), need)
	}
	v.doc = known
	detail := "signed by trusted key " + strings.Join(v.keyIDs, " and ")
	if w := known.witness; w != nil && !w.Time.IsZero() {
		detail += ", as " + w.Source + " saw at " + stamp(w.Time)
	}
	return detail, nil
}

// checkForm refuses a document of another kind than was asked for.
func (v *verification) checkForm(f form) error {
	switch plain := v.want.Type == TypeSignature; {
	case f.file != nil && !plain:
		e := fieldError("messageSignature", "signs a file, not a statement; expected dsseEnvelope")
		e.Hint = "to verify a plain signature of a file: --type " + TypeSignature
		return fmt.Errorf("cannot be read: %w", e)
	case f.file == nil && plain:
		return assay.Errorf(assay.CodeUnverified, "holds a statement; expected a plain signature of the file")
	case plain && v.want.Subject == "":
		return assay.Errorf(assay.CodeUnverified, "no expected subject digest was given; the signature is over %s", f.file.digest)
	case plain && v.want.Subject != string(f.file.digest):
		return assay.Errorf(assay.CodeUnverified, "the signature is over %s; expected %s", f.file.digest, v.want.Subject)
	case !plain && f.envelope.PayloadType != assay.StatementPayloadType:
		return assay.Errorf(assay.CodeUnverified, "payload type is %s; expected %q", quote(f.envelope.PayloadType), assay.StatementPayloadType)
	}
	return nil
}

// cacheKey of what an authority says of these bytes, or plain keys do.
func (v *verification) cacheKey(authority bool) cacheKey {
	k := cacheKey{hash: v.hash}
	if authority {
		k.authority = v.policy.Authority.ID()
	}
	if v.want.Type == TypeSignature {
		k.authority += " over " + v.want.Subject
	}
	return k
}

// recall returns what is known of the document if that answers for every trusted key.
func (v *verification) recall() *document {
	if v.policy.Cache == nil {
		return nil
	}
	v.hash = maphash.Bytes(v.policy.Cache.seed, v.data)
	d := v.lookup()
	v.policy.Cache.count(d != nil)
	return d
}

func (v *verification) lookup() *document {
	if !v.policy.LoggedKeys && len(v.policy.Keys) > 0 {
		if d := v.policy.Cache.get(v.cacheKey(false), v.data); d != nil && v.answered(d) {
			return d
		}
	}
	if v.policy.Authority != nil {
		d := v.policy.Cache.get(v.cacheKey(true), v.data)
		if d != nil && (d.witness.Identity != (Identity{}) || v.policy.LoggedKeys && v.answered(d)) {
			return d
		}
	}
	return nil
}

func (v *verification) answered(d *document) bool {
	for _, k := range v.policy.Keys {
		if _, asked := d.by[k.Key.KeyID()]; !asked {
			return false
		}
	}
	return true
}

// check verifies the document with whatever the policy has for its kind.
func (v *verification) check(f form) (*document, error) {
	byAuthority := f.certificate || v.policy.LoggedKeys
	var d *document
	var err error
	switch {
	case f.certificate:
		d, err = v.certified()
	case v.policy.LoggedKeys:
		d, err = v.logged(f)
	default:
		d, err = v.plain(f)
	}
	if err != nil {
		return nil, err
	}
	if f.file == nil {
		if byAuthority && string(d.payload) != string(f.envelope.Payload) {
			return nil, assay.Errorf(assay.CodeInternal, "two readers of one bundle found different payloads")
		}
		d.read()
	}
	if v.policy.Cache != nil {
		v.policy.Cache.put(v.cacheKey(byAuthority), v.data, d)
	}
	return d, nil
}

func (v *verification) certified() (*document, error) {
	if v.policy.Authority == nil {
		e := assay.Errorf(assay.CodeUnverified, "holds a certificate, and no trusted root was given to check it with")
		e.Hint = "give --trusted-root, --certificate-identity and --certificate-oidc-issuer"
		return nil, e
	}
	w, err := v.policy.Authority.Certified(v.data, v.artifact())
	if err != nil {
		return nil, err
	}
	if w.Identity == (Identity{}) || w.Time.IsZero() {
		return nil, assay.Errorf(assay.CodeInternal, "an authority vouched for a certificate without an identity or a time")
	}
	says := "signed by " + w.Identity.String() + ", as " + w.Source + " saw at " + stamp(w.Time)
	return &document{payload: w.Payload, witness: &w, says: says}, nil
}

// logged verifies a bundle's one signature with each key until one fits.
func (v *verification) logged(f form) (*document, error) {
	if v.policy.Authority == nil {
		return nil, assay.Errorf(assay.CodeInvalid, "log entries are demanded, and no trusted root was given to check them with")
	}
	if f.mediaType == "" {
		return nil, assay.Errorf(assay.CodeUnverified, "a bare DSSE envelope has no log entry; expected a Sigstore bundle with one")
	}
	if len(v.policy.Keys) == 0 {
		return nil, f.envelope.refusal(nil)
	}
	d := &document{by: map[string]bool{}}
	var first error
	for _, k := range v.policy.Keys {
		id := k.Key.KeyID()
		if d.by[id] {
			continue
		}
		d.by[id] = false
		if d.witness != nil {
			continue // one signature, by another key
		}
		w, err := v.policy.Authority.Logged(v.data, k.Key, v.artifact())
		if err == nil {
			d.by[id], d.witness, d.payload = true, &w, w.Payload
		} else if first == nil {
			first = err
		}
	}
	if d.witness == nil {
		return nil, first
	}
	return d, nil
}

// plain verifies every signature with every key, whatever key ids are claimed.
// What the cache knows of other keys is carried on.
func (v *verification) plain(f form) (*document, error) {
	d := &document{payload: f.envelope.Payload, by: make(map[string]bool, len(v.policy.Keys))}
	var message []byte
	if f.file == nil {
		message = PAE(f.envelope.PayloadType, f.envelope.Payload)
	}
	some := false
	for _, k := range v.policy.Keys {
		id := k.Key.KeyID()
		if _, asked := d.by[id]; asked {
			continue
		}
		if f.file != nil {
			d.by[id] = k.Key.VerifyDigest(f.file.digest, f.file.sig) == nil
		} else {
			d.by[id] = f.envelope.signedBy(k.Key, message)
		}
		some = some || d.by[id]
	}
	if some {
		return d, nil
	}
	if f.file != nil {
		f.envelope.Signatures = []Signature{{KeyID: f.hint, Sig: f.file.sig}}
	}
	return nil, f.envelope.refusal(d.by)
}

// artifact is the digest that a plain signature must be over, "" for statements.
func (v *verification) artifact() assay.Digest {
	if v.want.Type == TypeSignature {
		return assay.Digest(v.want.Subject)
	}
	return ""
}

// read decodes the verified payload, once.
func (d *document) read() {
	payload := d.payload
	d.payload, d.size = nil, len(payload)
	if d.st, d.stErr = ParseStatement(payload); d.stErr != nil || d.st.PredicateType != assay.VSAPredicateType {
		return
	}
	sum, err := ParseSummary(d.st.Predicate)
	d.summary, d.sumErr = &sum, err
}

// acceptsKey returns nil if the policy trusts the key at that moment, whatever it signs.
func (p TrustPolicy) acceptsKey(id string, m Moment) error {
	if err := p.revoked(id, m); err != nil {
		return err
	}
	why := fmt.Errorf("key %s is not trusted", id)
	for _, k := range p.Keys {
		if k.Key.KeyID() != id {
			continue
		}
		if why = k.Accepts(m); why == nil {
			return nil
		}
	}
	return why
}
