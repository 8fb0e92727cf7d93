package main

import (
	"fmt"

	"assay.dev/assay/attest"
	"github.com/spf13/pflag"
)

// believeFlags say whose signatures are believed: keys, or identities that
// certificates were issued to. The names are cosign's where cosign has one.
type believeFlags struct {
	pubs      []string
	verifiers []string
	threshold int

	root                      string
	identity, identityPattern string
	issuer, issuerPattern     string
	authority                 authorityOptions
}

// authorityOptions take away what a trusted root demands by default.
type authorityOptions struct {
	ignoreLog, ignoreSCT, signedTimestamps bool
}

func (f *believeFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.pubs, "pub", nil, "public file of a signer (assay.pub, or cosign's), or trust file, which knows periods and revocations; may be repeated")
	fs.StringArrayVar(&f.verifiers, "allow-verifier", nil, "verifier.id that the keys and the identity may sign (default --verifier-id); may be repeated")
	fs.IntVar(&f.threshold, "threshold", 1, "how many different keys must have signed (a DSSE envelope; a bundle has one signature)")
	fs.StringVar(&f.root, "trusted-root", "", "Sigstore trusted root that certificates, log entries and timestamps are checked with")
	fs.StringVar(&f.identity, "certificate-identity", "", "whom the certificate must be issued to")
	fs.StringVar(&f.identityPattern, "certificate-identity-regexp", "", "regular expression that the identity must fit from end to end")
	fs.StringVar(&f.issuer, "certificate-oidc-issuer", "", "OpenID Connect issuer that must have vouched for the identity")
	fs.StringVar(&f.issuerPattern, "certificate-oidc-issuer-regexp", "", "regular expression that the issuer must fit from end to end")
	fs.BoolVar(&f.authority.ignoreLog, "insecure-ignore-tlog", false, "with --trusted-root: accept signatures without a transparency log entry")
	fs.BoolVar(&f.authority.ignoreSCT, "insecure-ignore-sct", false, "with --trusted-root: accept certificates that no certificate log holds")
	fs.BoolVar(&f.authority.signedTimestamps, "use-signed-timestamps", false, "with --trusted-root: demand a timestamp of an RFC 3161 authority; the log's word about time is not enough")
}

// believed is what the flags say together. The ledger's key is that of the first file that has one.
func (a *app) believed(f believeFlags) (attest.Trust, error) {
	if len(f.pubs) == 0 && f.root == "" && !f.certificate() {
		return attest.Trust{}, usageError{fmt.Errorf("nobody is believed: give --pub, or --trusted-root with --certificate-identity and --certificate-oidc-issuer")}
	}
	var t attest.Trust
	for _, path := range f.pubs {
		one, err := a.trust(trustSource{path, f.verifiers})
		if err != nil {
			return t, err
		}
		if t.Name == "" {
			t.Name = one.Name
		}
		if t.Ledger == "" {
			t.Ledger = one.Ledger
		}
		t.Policy.Keys = append(t.Policy.Keys, one.Policy.Keys...)
	}
	if err := f.demand(&t.Policy); err != nil {
		return t, err
	}
	return t, a.believeIdentity(f, &t.Policy)
}

// certificate reports whether anything is said about whom a certificate must be issued to.
func (f believeFlags) certificate() bool {
	return f.identity != "" || f.identityPattern != "" || f.issuer != "" || f.issuerPattern != ""
}

// demand sets how many keys must have signed. More than there are could never be met.
func (f believeFlags) demand(p *attest.TrustPolicy) error {
	different := map[string]bool{}
	for _, k := range p.Keys {
		different[k.Key.KeyID()] = true
	}
	if f.threshold < 1 || f.threshold > max(1, len(different)) {
		return usageError{fmt.Errorf("--threshold %d: expected 1 to %d, the number of different keys given", f.threshold, max(1, len(different)))}
	}
	p.Threshold = f.threshold
	return nil
}

func (a *app) believeIdentity(f believeFlags, p *attest.TrustPolicy) error {
	if f.root == "" {
		if f.certificate() || f.authority != (authorityOptions{}) {
			return usageError{fmt.Errorf("a certificate is checked with a trusted root: give --trusted-root")}
		}
		return nil
	}
	data, err := readFile(f.root, maxTrustedRoot)
	if err != nil {
		return err
	}
	if p.Authority, err = openAuthority(data, f.authority); err != nil {
		return inFile(err, f.root)
	}
	p.LoggedKeys = len(p.Keys) > 0
	if !f.certificate() {
		if len(p.Keys) == 0 {
			return usageError{fmt.Errorf("a trusted root vouches for everybody: say whom you believe with --certificate-identity and --certificate-oidc-issuer")}
		}
		return nil
	}
	var who attest.TrustedIdentity
	if who.Subject, err = oneOf("certificate-identity", f.identity, f.identityPattern); err != nil {
		return err
	}
	if who.Issuer, err = oneOf("certificate-oidc-issuer", f.issuer, f.issuerPattern); err != nil {
		return err
	}
	if who.VerifierIDs = f.verifiers; len(who.VerifierIDs) == 0 {
		who.VerifierIDs = []string{a.cfg.get("verifier-id")}
	}
	p.Identities = []attest.TrustedIdentity{who}
	return nil
}

// oneOf is the text or the pattern, whichever was given.
func oneOf(flag, text, pattern string) (attest.Match, error) {
	switch {
	case text != "" && pattern != "":
		return attest.Match{}, usageError{fmt.Errorf("give one of --%s and --%s-regexp", flag, flag)}
	case text != "":
		return attest.Exactly(text), nil
	case pattern != "":
		m, err := attest.Fitting(pattern)
		if err != nil {
			return m, usageError{fmt.Errorf("--%s-regexp: %w", flag, err)}
		}
		return m, nil
	}
	return attest.Match{}, usageError{fmt.Errorf("--%s is needed: an identity is one only together with the issuer that vouched for it", flag)}
}
