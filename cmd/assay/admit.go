package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/admit"
	"assay.dev/assay/api"
	"assay.dev/assay/internal/certs"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/internal/term"
	"github.com/spf13/cobra"
)

// admissions is what the admit commands need of a control plane.
type admissions interface {
	CheckAdmission(ctx context.Context, req api.AdmissionCheck) (api.AdmissionAnswer, error)
}

func (a *app) admitCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admit",
		Short: "Let into an environment only what is attested: check images, set up the cluster's door",
		Long: `Let into an environment only what is attested: check images, set up the cluster's door.

What a door asks for stands in an Admission resource of the policy directory. The
webhook itself is a part of the control plane: assay serve --admission-listen.`,
	}
	cmd.AddCommand(a.admitCheckCmd(), a.admitCertificateCmd(), a.admitWebhookCmd())
	return cmd
}

func (a *app) admitCheckCmd() *cobra.Command {
	var req api.AdmissionCheck
	cmd := &cobra.Command{
		Use:   "check IMAGE...",
		Short: "Ask the doors whether images may run: before a GitOps sync or a serverless deployment",
		Long: `Ask the doors whether images may run: before a GitOps sync or a serverless deployment.

Asks every Admission resource that guards the environment and the namespace of the
cluster. Reads the policy directory and the attestations and exceptions of the state
directory (no other process may use it meanwhile), or asks --server. Changes the
state: each answer is recorded as a fact, like the answer to a cluster; with
--dry-run it changes nothing.

Exit codes: 0 all may run, or the door does not enforce · 1 error, or nobody guards it · 2 usage · 3 refused · 4 an attestation is absent.`,
		Example: `  assay admit check registry.example/shop/web@sha256:… --environment prod --server https://assay.example`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Images = args
			answer, err := ask(cmd.Context(), a, stateNeeded, func(ops *operations) (api.AdmissionAnswer, error) {
				return ops.CheckAdmission(cmd.Context(), req)
			})
			if err != nil {
				return err
			}
			if err := a.print(answer, func() { a.printAdmission(answer) }); err != nil {
				return err
			}
			switch {
			case answer.Allowed:
				return nil
			case answer.Outcome == assay.OutcomeAbsent:
				return exit(exitAbsent)
			}
			return exit(exitFailed)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&req.Environment, "environment", "", "environment the images are to run in (default: every one that has a door)")
	fs.StringVar(&req.Namespace, "cluster-namespace", "", "namespace of the cluster they are to run in")
	fs.StringVar(&req.Door, "door", "", "ask only this Admission resource")
	fs.BoolVar(&req.DryRun, "dry-run", false, "record nothing")
	return cmd
}

func (a *app) printAdmission(answer api.AdmissionAnswer) {
	for _, d := range answer.Decisions {
		head := a.out.Paint(term.Green, "may run")
		switch {
		case !d.Allowed:
			head = a.out.Paint(term.Vermilion, "REFUSED")
		case d.Outcome != assay.OutcomePass:
			head = fmt.Sprintf("may run: the door is in mode %s", d.Mode)
		}
		fmt.Fprintf(a.out, "door %s of %s: %s\n", d.Door, d.Environment, head)
		if d.Skipped != "" {
			fmt.Fprintf(a.out, "  nothing was judged: %s\n", d.Skipped)
		}
		for _, i := range d.Images {
			if i.Basis != "" {
				fmt.Fprintf(a.out, "  %s %s: %s\n", a.out.Paint(term.Green, "✓"), i.Reference, i.Basis)
			}
		}
		for _, v := range d.Violations {
			sign := a.out.Paint(term.Vermilion, "✗")
			if v.Exception != "" {
				sign = "-"
			}
			fmt.Fprintf(a.out, "  %s %s: %s\n", sign, v.Rule, v.Message)
			switch {
			case v.Exception != "":
				fmt.Fprintf(a.out, "    excused by exception %s\n", v.Exception)
			case v.Remedy != "":
				fmt.Fprintf(a.out, "    fix: %s\n", v.Remedy)
			}
		}
		for _, w := range d.Warnings {
			fmt.Fprintf(a.out, "  ! %s\n", w)
		}
	}
}

// certificateFlags are those of `admit certificate`.
type certificateFlags struct {
	out, service, serviceNamespace, url string
	hosts                               []string
	days                                int
}

func (f *certificateFlags) addService(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.service, "service", "assay", "service that the API server finds the webhook by")
	fs.StringVar(&f.serviceNamespace, "service-namespace", "assay-system", "namespace of that service; the webhook is never asked about it")
	fs.StringVar(&f.url, "url", "", "https://host:port of a webhook outside of the cluster, instead of a service")
}

// webhook says where an API server finds the doors.
func (f *certificateFlags) webhook(ca []byte) admit.Webhook {
	w := admit.Webhook{Name: "assay", CA: ca, URL: f.url}
	if f.url == "" {
		w.Service, w.ServiceNamespace = f.service, f.serviceNamespace
	}
	return w
}

func (a *app) admitCertificateCmd() *cobra.Command {
	var f certificateFlags
	cmd := &cobra.Command{
		Use:   "certificate --out FOLDER",
		Short: "Make the webhook's certificate and the configuration that trusts it; again to rotate",
		Long: `Make the webhook's certificate and the configuration that trusts it; again to rotate.

Writes into FOLDER: ca.crt and ca.key (an authority of its own, made once and kept),
tls.crt and tls.key (the webhook's certificate, new each time; a running webhook
takes it over without a restart), and webhook.yaml, the ValidatingWebhookConfiguration
of the doors in the policy directory, for kubectl apply. Keep ca.key away from the
cluster.

Exit codes: 0 written · 1 error · 2 usage.`,
		Example: `  assay admit certificate --out webhook --policy policies
  kubectl -n assay-system create secret tls assay-webhook --cert webhook/tls.crt --key webhook/tls.key
  kubectl apply -f webhook/webhook.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.admitCertificate(cmd.Context(), f) },
	}
	f.addService(cmd)
	cmd.Flags().StringVar(&f.out, "out", "", "folder to write")
	cmd.Flags().StringArrayVar(&f.hosts, "host", nil, "further DNS name or IP address of the webhook; may be repeated")
	cmd.Flags().IntVar(&f.days, "days", 365, "how long the certificate lasts")
	_ = cmd.MarkFlagRequired("out") // fails only for a flag that does not exist
	return cmd
}

func (a *app) admitCertificate(ctx context.Context, f certificateFlags) error {
	if f.days < 1 || f.days > 3650 {
		return usageError{fmt.Errorf("--days is %d; expected 1 to 3650", f.days)}
	}
	hosts := f.hosts
	if f.url == "" {
		hosts = append([]string{f.service + "." + f.serviceNamespace + ".svc"}, hosts...)
	} else if len(hosts) == 0 {
		return usageError{fmt.Errorf("--host is needed with --url: the names that the certificate is for")}
	}
	rev, err := loadRevision(ctx, a.cfg.get("policy"))
	if err != nil {
		return err
	}
	// What could fail is done before anything is replaced.
	if _, err := admit.Configuration(rev.Admissions(), f.webhook(nil)); err != nil {
		return err
	}
	if err := certs.Make(f.out, hosts, time.Duration(f.days)*24*time.Hour, a.now()); err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(f.out, certs.CAName))
	if err != nil {
		return err
	}
	yaml, err := admit.Configuration(rev.Admissions(), f.webhook(ca))
	if err != nil {
		return err
	}
	path := filepath.Join(f.out, "webhook.yaml")
	if err := durable.WriteFile(path, yaml, 0o644); err != nil {
		return err
	}
	made := struct {
		Hosts   []string  `json:"hosts"`
		Until   time.Time `json:"until"`
		Webhook string    `json:"webhook"`
		CAKey   string    `json:"ca_key"`
	}{hosts, a.now().AddDate(0, 0, f.days).UTC().Truncate(time.Second), path, filepath.Join(f.out, certs.CAKeyName)}
	return a.print(made, func() {
		fmt.Fprintf(a.out, "certificate for %s until %s\n%s is for kubectl apply; keep %s away from the cluster\n",
			hosts[0], made.Until.Format(time.DateOnly), path, made.CAKey)
	})
}

// maxCA is the largest file of authorities, in bytes.
const maxCA = 1 << 20

func (a *app) admitWebhookCmd() *cobra.Command {
	var f certificateFlags
	var ca string
	cmd := &cobra.Command{
		Use:   "webhook --ca FILE",
		Short: "Print the ValidatingWebhookConfiguration of the doors, after the policy changed",
		Long: `Print the ValidatingWebhookConfiguration of the doors, after the policy changed.

One webhook for each Admission resource that is not off: with its failure policy,
and conditions that keep away what it does not guard. Reads the policy directory
and the file of authorities; changes nothing.

Exit codes: 0 printed · 1 error · 2 usage.`,
		Example: `  assay admit webhook --ca webhook/ca.crt | kubectl apply -f -`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pem, err := readFile(ca, maxCA)
			if err != nil {
				return err
			}
			rev, err := loadRevision(cmd.Context(), a.cfg.get("policy"))
			if err != nil {
				return err
			}
			yaml, err := admit.Configuration(rev.Admissions(), f.webhook(pem))
			if err != nil {
				return err
			}
			_, err = a.out.Write(yaml)
			return err
		},
	}
	f.addService(cmd)
	cmd.Flags().StringVar(&ca, "ca", "", "certificates of who signed the webhook's, in PEM")
	_ = cmd.MarkFlagRequired("ca") // fails only for a flag that does not exist
	return cmd
}
