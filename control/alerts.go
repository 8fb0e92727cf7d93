package control

import (
	"context"
	"fmt"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/exception"
	"assay.dev/assay/inventory"
	"assay.dev/assay/notify"
	"assay.dev/assay/store"
)

// Names of alerts, which people route by.
const (
	alertBypass   = "AssayEmergencyBypass"
	alertExpiring = "AssayExceptionExpiring"
	alertFinding  = "AssayLateFinding"
)

// AlertNamespaces are the namespaces whose alerts are told.
func (p *Plane) AlertNamespaces() ([]string, error) {
	pol, err := p.cfg.Policy()
	if err != nil {
		return nil, err
	}
	return p.namespaces(pol.Revision), nil
}

// Alerts returns what somebody has to act on in a namespace now: bypasses, exceptions
// that end soon, and findings that neither VEX nor an exception covers. A bypass is
// among them until the longest one would be over, so that none is too short to be told.
func (p *Plane) Alerts(ctx context.Context, namespace string, now time.Time) ([]notify.Alert, error) {
	var out []notify.Alert
	err := p.cfg.Store.View(ctx, func(r store.Reader) error {
		rows, err := r.Facts(store.Query{
			Namespace: namespace, Kinds: []string{assay.FactExceptionBypassed}, Since: now.Add(-assay.MaxBypass), Newest: true, Limit: store.MaxLimit,
		})
		if err != nil {
			return err
		}
		for _, row := range rows {
			b, err := payload[exception.Bypassed](row.Fact)
			if err != nil {
				return assay.Errorf(assay.CodeInternal, "fact %s cannot be read: %w", row.Fact.ID, err)
			}
			out = append(out, bypassAlert(b, row.Fact.ID))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, a := range out { // one that was taken back ended then
		e, err := exception.Get(ctx, p.cfg.Store, namespace, a.Labels["exception"])
		if err != nil {
			return nil, err
		}
		if !e.Revoked.IsZero() && e.Revoked.Before(a.Ends) {
			out[i].Ends = e.Revoked
			out[i].Annotations["revoked"] = e.Revoker + ": " + e.RevokeReason
		}
	}
	for after := ""; ; {
		page, err := exception.List(ctx, p.cfg.Store, namespace, after, store.DefaultLimit)
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			after = r.ID
			if r.ExpiringFact != "" && r.ActiveAt(now) && !r.Emergency {
				out = append(out, expiringAlert(r))
			}
		}
		if len(page) < store.DefaultLimit {
			break
		}
	}
	findings, err := inventory.Findings(ctx, p.cfg.Store, namespace, false, now)
	if err != nil {
		return nil, err
	}
	for _, f := range findings {
		if f.Standing() == inventory.FindingOpen {
			out = append(out, findingAlert(f, namespace))
		}
	}
	return out, nil
}

func bypassAlert(b exception.Bypassed, fact assay.FactID) notify.Alert {
	return notify.Alert{
		ID: "bypass/" + b.ID, Starts: b.NotBefore, Ends: b.NotAfter,
		Labels: map[string]string{
			"alertname": alertBypass, "severity": "critical", "namespace": b.Namespace, "exception": b.ID, "owner": b.Requester, "page": strings.Join(b.Page, ","),
		},
		Annotations: map[string]string{
			"summary":     fmt.Sprintf("%s bypassed %s until %s", b.Requester, strings.Join(b.Scope.Rules, ", "), b.NotAfter.UTC().Format(time.RFC3339)),
			"description": b.Reason, "fact": string(fact), "remedy": "assay exception revoke " + b.ID + " --reason …",
		},
	}
}

func expiringAlert(r exception.Record) notify.Alert {
	return notify.Alert{
		ID: "expiring/" + r.ID, Starts: r.NotBefore, Ends: r.NotAfter,
		Labels: map[string]string{"alertname": alertExpiring, "severity": "warning", "namespace": r.Namespace, "exception": r.ID, "owner": r.Requester},
		Annotations: map[string]string{
			"summary":     fmt.Sprintf("the exception of %s for %s ends at %s", r.Requester, strings.Join(r.Scope.Rules, ", "), r.NotAfter.UTC().Format(time.RFC3339)),
			"description": r.Reason, "fact": string(r.ExpiringFact), "remedy": "fix what it excuses, or ask for another",
		},
	}
}

func findingAlert(f inventory.Finding, namespace string) notify.Alert {
	severity := "warning"
	if f.Severity == assay.SeverityCritical || f.Severity == assay.SeverityHigh {
		severity = "critical"
	}
	var places []string
	for _, p := range f.Places {
		places = append(places, p.Service+" in "+p.Environment)
	}
	remedy := "no version that fixes it is known"
	if len(f.Fixed) > 0 {
		remedy = "fixed in " + strings.Join(f.Fixed, ", ")
	}
	return notify.Alert{
		ID: "finding/" + f.ID + "/" + string(f.Fact), Starts: f.Opened,
		Labels: map[string]string{
			"alertname": alertFinding, "severity": severity, "namespace": namespace, "advisory": f.Advisory, "artifact": string(f.Artifact), "package": f.Package.PURL,
		},
		Annotations: map[string]string{
			"summary":     fmt.Sprintf("%s (%s) is in %s, which runs as %s", f.Advisory, f.Severity, f.Name, strings.Join(places, ", ")),
			"description": f.Summary, "fact": string(f.Fact), "remedy": remedy,
		},
	}
}
