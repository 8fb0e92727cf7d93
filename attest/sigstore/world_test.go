package sigstore_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/attest/sigstore"
	"github.com/digitorus/timestamp"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// world is a Sigstore of its own: a certificate authority, a Rekor of version 2
// and a timestamp authority, all at instants that a test chooses.
type world struct {
	t       testing.TB
	start   time.Time // of every certificate of an authority
	fulcio  pair
	middle  pair
	stamper pair
	stampCA pair
	log     note.Signer
	logKey  ed25519.PublicKey
}

type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

const logName = "rekor.example.com"

func newWorld(t testing.TB, start time.Time) *world {
	t.Helper()
	w := &world{t: t, start: start}
	ca := func(name string, parent *pair, usage x509.ExtKeyUsage) pair {
		return w.issue(&x509.Certificate{
			Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{usage},
			NotBefore: start, NotAfter: start.AddDate(10, 0, 0),
		}, newKey(t, elliptic.P256()), parent)
	}
	w.fulcio = ca("root", nil, x509.ExtKeyUsageCodeSigning)
	w.middle = ca("intermediate", &w.fulcio, x509.ExtKeyUsageCodeSigning)
	w.stampCA = ca("time root", nil, x509.ExtKeyUsageTimeStamping)
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	w.must(err)
	w.stamper = w.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "time"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
		NotBefore:       start, NotAfter: start.AddDate(10, 0, 0),
	}, newKey(t, elliptic.P256()), &w.stampCA)
	skey, vkey, err := note.GenerateKey(rand.Reader, logName)
	w.must(err)
	w.log, err = note.NewSigner(skey)
	w.must(err)
	raw, err := base64.StdEncoding.DecodeString(vkey[len(logName)+10:])
	w.must(err)
	w.logKey = ed25519.PublicKey(raw[1:])
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func newKey(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue makes a certificate for key, signed by parent or by itself.
func (w *world) issue(c *x509.Certificate, key crypto.Signer, parent *pair) pair {
	w.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	w.must(err)
	c.SerialNumber = serial
	by := pair{c, key}
	if parent != nil {
		by = *parent
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, key.Public(), by.key)
	w.must(err)
	cert, err := x509.ParseCertificate(der)
	w.must(err)
	return pair{cert, key}
}

// trustedRoot is the file that a verifier of this world pins.
func (w *world) trustedRoot() []byte {
	w.t.Helper()
	end := w.start.AddDate(10, 0, 0)
	id := sha256.Sum256(w.logKey)
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{
			Root: w.fulcio.cert, Intermediates: []*x509.Certificate{w.middle.cert},
			ValidityPeriodStart: w.start, ValidityPeriodEnd: end, URI: "https://fulcio.example.com",
		}}, nil,
		[]root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{
			Root: w.stampCA.cert, Leaf: w.stamper.cert, ValidityPeriodStart: w.start, ValidityPeriodEnd: end, URI: "https://time.example.com",
		}},
		map[string]*root.TransparencyLog{"": {
			BaseURL: "https://" + logName, ID: id[:], ValidityPeriodStart: w.start, ValidityPeriodEnd: end,
			HashFunc: crypto.SHA256, PublicKey: w.logKey, SignatureHashFunc: crypto.SHA256,
		}})
	w.must(err)
	data, err := tr.MarshalJSON()
	w.must(err)
	// protojson varies its white space on purpose.
	var out bytes.Buffer
	w.must(json.Compact(&out, data))
	return out.Bytes()
}

func (w *world) authority(o sigstore.Options) *sigstore.Authority {
	w.t.Helper()
	a, err := sigstore.ParseTrustedRoot(w.trustedRoot(), o)
	w.must(err)
	return a
}

// signing says how one bundle is made. The zero value of a field means the honest choice.
type signing struct {
	identity, issuer string
	key              crypto.Signer // ECDSA P-256
	sign             func(message []byte) []byte
	certificate      time.Time                                    // start of its ten minutes
	stamp            time.Time                                    // of the timestamp
	parent           *pair                                        // who issued the certificate
	tree             func(leaf []byte) (size int, root []byte)    // what the checkpoint signs
	note             func(text string) string                     // the checkpoint
	stamped          func(sig []byte) []byte                      // what the timestamp is over
	change           func(bundle, material, entry map[string]any) // the finished bundle
	plain            []byte                                       // sign this file, no statement
}

const (
	identity = "https://github.com/example/greet/.github/workflows/release.yml@refs/tags/v1.1.0"
	issuer   = "https://token.actions.githubusercontent.com"
)

// sign makes a bundle of version 0.3 over a statement.
func (w *world) sign(statement []byte, s signing) []byte {
	w.t.Helper()
	if s.key == nil {
		s.key = newKey(w.t, elliptic.P256())
	}
	leaf := w.leaf(s)
	message := attest.PAE(assay.StatementPayloadType, statement)
	if s.plain != nil {
		message = s.plain
	}
	digest := sha256.Sum256(message)
	var sig []byte
	var err error
	switch {
	case s.sign != nil:
		sig = s.sign(message)
	default:
		sig, err = s.key.Sign(rand.Reader, digest[:], crypto.SHA256)
		w.must(err)
	}
	entry := w.entry(leaf, digest[:], sig, s)
	material := map[string]any{
		"certificate": map[string]any{"rawBytes": leaf.cert.Raw}, "tlogEntries": []any{entry},
		"timestampVerificationData": map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": w.stampOver(sig, s)}}},
	}
	b := map[string]any{"mediaType": assay.BundleMediaType, "verificationMaterial": material}
	if s.plain != nil {
		b["messageSignature"] = map[string]any{"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": digest[:]}, "signature": sig}
	} else {
		b["dsseEnvelope"] = map[string]any{"payload": statement, "payloadType": assay.StatementPayloadType, "signatures": []any{map[string]any{"sig": sig}}}
	}
	if s.change != nil {
		s.change(b, material, entry)
	}
	data, err := json.Marshal(b)
	w.must(err)
	return data
}

// leaf is the short-lived certificate of an identity.
func (w *world) leaf(s signing) pair {
	w.t.Helper()
	who, by := s.identity, s.issuer
	if who == "" {
		who = identity
	}
	if by == "" {
		by = issuer
	}
	from := s.certificate
	if from.IsZero() {
		from = now.Add(-time.Minute)
	}
	parent := s.parent
	if parent == nil {
		parent = &w.middle
	}
	uri, err := url.Parse(who)
	w.must(err)
	return w.issue(&x509.Certificate{
		URIs: []*url.URL{uri}, NotBefore: from, NotAfter: from.Add(10 * time.Minute), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(by)}},
	}, s.key, parent)
}

// entry is the log's: the second leaf of a tree of two.
func (w *world) entry(leaf pair, digest, sig []byte, s signing) map[string]any {
	w.t.Helper()
	details := "PKIX_ECDSA_P256_SHA_256"
	if _, ok := s.key.(*rsa.PrivateKey); ok {
		details = "PKIX_RSA_PKCS1V15_2048_SHA256"
	}
	b64 := base64.StdEncoding.EncodeToString
	body := fmt.Appendf(nil, `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":%q},"signature":{"content":%q,"verifier":{"keyDetails":%q,"x509Certificate":{"rawBytes":%q}}}}}}`,
		b64(digest), b64(sig), details, b64(leaf.cert.Raw))
	other, this := rfc6962.DefaultHasher.HashLeaf([]byte("other")), rfc6962.DefaultHasher.HashLeaf(body)
	size, head := 2, rfc6962.DefaultHasher.HashChildren(other, this)
	if s.tree != nil {
		size, head = s.tree(this)
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", logName, size, b64(head))}, w.log)
	w.must(err)
	text := string(signed)
	if s.note != nil {
		text = s.note(text)
	}
	id := sha256.Sum256(w.logKey)
	return map[string]any{
		"logIndex": "1", "logId": map[string]any{"keyId": id[:]},
		"kindVersion": map[string]any{"kind": "hashedrekord", "version": "0.0.2"},
		"inclusionProof": map[string]any{
			"logIndex": "1", "treeSize": fmt.Sprint(size), "rootHash": head, "hashes": []any{other},
			"checkpoint": map[string]any{"envelope": text},
		},
		"canonicalizedBody": body,
	}
}

func (w *world) stampOver(sig []byte, s signing) []byte {
	w.t.Helper()
	at := s.stamp
	if at.IsZero() {
		at = now
	}
	if s.stamped != nil {
		sig = s.stamped(sig)
	}
	sum := sha256.Sum256(sig)
	ts := timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: at, Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}}
	der, err := ts.CreateResponseWithOpts(w.stamper.cert, w.stamper.key, crypto.SHA256)
	w.must(err)
	return der
}
