package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"assay.dev/assay"
	"assay.dev/assay/admit"
	"assay.dev/assay/internal/certs"
	"assay.dev/assay/policy"
	"github.com/spf13/cobra"
)

// admissionFlags are those of the webhook.
type admissionFlags struct{ listen, cert, key, clientCA string }

func (f *admissionFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.listen, "admission-listen", "", "address of the Kubernetes admission webhook, for example :8443")
	fs.StringVar(&f.cert, "admission-cert", "", "certificate of the webhook, --tls-cert if it is not given; read again when it changes")
	fs.StringVar(&f.key, "admission-key", "", "private key of that certificate")
	fs.StringVar(&f.clientCA, "admission-client-ca", "", "certificates of who signs API servers' client certificates: nobody else may ask")
}

// or takes the certificate of the pages if a webhook has none of its own.
func (f admissionFlags) or(t tlsFlags) admissionFlags {
	if f.listen != "" && f.cert == "" && f.key == "" {
		f.cert, f.key = t.cert, t.key
	}
	return f
}

// webhook is a listening admission webhook.
type webhook struct {
	ln  net.Listener
	tls *tls.Config
}

// openWebhook listens for API servers, nil if nobody asked for it.
func (a *app) openWebhook(ctx context.Context, f admissionFlags) (*webhook, error) {
	if f.listen == "" {
		if f.cert != "" || f.key != "" || f.clientCA != "" {
			return nil, usageError{errors.New("--admission-cert, --admission-key and --admission-client-ca are of the webhook; give --admission-listen")}
		}
		return nil, nil
	}
	if f.cert == "" || f.key == "" {
		return nil, usageError{errors.New("--admission-listen needs --admission-cert and --admission-key: API servers speak TLS only; assay admit certificate makes them")}
	}
	secure, err := a.watchCertificate(certs.Files{Cert: f.cert, Key: f.key})
	if err != nil {
		return nil, err
	}
	w := &webhook{tls: secure}
	if f.clientCA != "" {
		pem, err := readFile(f.clientCA, maxCA)
		if err != nil {
			return nil, err
		}
		w.tls.ClientCAs, w.tls.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !w.tls.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, &assay.Error{Code: assay.CodeInvalid, File: f.clientCA, Msg: "holds no certificate in PEM"}
		}
	}
	w.ln, err = listenOn(ctx, f.listen, "--admission-listen")
	return w, err
}

// openAdmission reads the index of artifacts and returns what runs: it answers API
// servers, keeps the index fresh and records admissions.
func (a *app) openAdmission(ctx context.Context, in *installation, rev *policy.Revision, f admissionFlags) ([]func(context.Context) error, error) {
	if err := in.plane.WarmAdmission(ctx, rev); err != nil {
		return nil, err
	}
	parts := []func(context.Context) error{in.plane.FollowIndex, in.plane.Door().Run}
	w, err := a.openWebhook(ctx, f)
	if err != nil || w == nil {
		return parts, err
	}
	return append(parts, func(ctx context.Context) error {
		fmt.Fprintf(a.out, "admission webhook https://%s\n", w.ln.Addr())
		return admit.Serve(ctx, w.ln, admit.Handler(in.plane.Door()), w.tls, a.log)
	}), nil
}
