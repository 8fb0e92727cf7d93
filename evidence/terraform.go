package evidence

import (
	"fmt"
	"regexp"
	"strings"

	"assay.dev/assay"
)

// stateful are types of resources that hold data which a new one does not have.
var stateful = regexp.MustCompile(`(?i)(^|_)(db|database|rds|sql|dynamodb|docdb|redshift|elasticache|memorydb|neptune|keyspaces|timestream|spanner|bigtable|bigquery|firestore|cosmosdb|postgresql|mysql|mariadb|mssql|redis|mongodb(atlas)?|opensearch|elasticsearch|kafka|msk|bucket|s3|storage|blob|efs|fsx|ebs|volume|disk|filestore|persistent|backup|vault|kms|secret|secretsmanager|key|snapshot|ecr|registry|cluster|zone|queue|sqs|table)(_|$)`)

// readTerraform reads what a Terraform plan changes. Measures count resources to
// create, update, replace, destroy and forget. Destroying or replacing a
// resource whose type holds data is a low finding, of any other type one of
// severity none: what a plan may do is for policies to judge. A plan that
// failed, and a check in it that failed, are findings as well. Values are never
// read, since they may be secret.
func readTerraform(r *report) error {
	r.ev.Tool = assay.Tool{Name: "terraform"}
	t := &terraform{rep: r, c: newCursor(r), changes: map[string]int{}}
	c := t.c
	var version string
	changes, state := false, false
	for key := range c.document() {
		switch key {
		case "format_version":
			version = c.name()
		case "terraform_version":
			r.ev.Tool.Version = c.name()
		case "timestamp":
			r.timestamp("timestamp", c.name())
		case "resource_changes":
			changes = true
			for range c.array() {
				t.change()
			}
		case "resource_drift":
			for range c.array() {
				t.drift++
				c.skip()
			}
		case "checks":
			for range c.array() {
				t.check()
			}
		case "errored":
			t.errored = c.boolean(false)
		case "complete":
			t.partial = !c.boolean(true)
		case "values":
			state = true
			c.skip()
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
		return c.err
	case version == "":
		return missing("format_version", `"1.2", as terraform show -json writes it`)
	case !strings.HasPrefix(version, "1."):
		r.note("format_version %q is not 1.x; what it adds was not read", version)
	}
	if state && !changes {
		return &assay.Error{Code: assay.CodeInvalid, Field: "values", Msg: "is a state, not a plan", Hint: "write the plan: terraform show -json PLANFILE"}
	}
	return t.finish()
}

type terraform struct {
	rep              *report
	c                *cursor
	changes          map[string]int
	drift, total     int
	errored, partial bool
}

// planned are the measures of a plan, in the order of its summary.
var planned = []string{"create", "update", "replace", "destroy", "forget"}

func (t *terraform) finish() error {
	for _, name := range planned {
		t.rep.count(name, t.changes[name])
	}
	if t.drift > 0 {
		t.rep.note("%s outside of Terraform since the last apply", plural(t.drift, "resource changed", "resources changed"))
	}
	if t.partial {
		t.rep.note("the plan is not complete: applying it leaves changes for another plan")
	}
	if !t.errored {
		return nil
	}
	return t.rep.finding(assay.Finding{
		Rule: "plan-failed", Severity: assay.SeverityCritical, Message: "planning failed; the plan does not list all changes",
		Fingerprint: t.rep.prints.of("terraform", "plan-failed"),
	})
}

func (t *terraform) change() {
	c := t.c
	if t.total++; t.total > MaxResources {
		c.fail(assay.CodeTooLarge, c.dec.InputOffset(), fmt.Sprintf("has more than %d resources", MaxResources))
		return
	}
	var address, kind, mode, reason, deposed string
	var actions []string
	for key := range c.object() {
		switch key {
		case "address":
			address = c.name()
		case "type":
			kind = c.name()
		case "mode":
			mode = c.name()
		case "action_reason":
			reason = c.name()
		case "deposed":
			deposed = c.name()
		case "change":
			for key := range c.object() {
				if key == "actions" {
					actions = c.names()
					continue
				}
				c.skip()
			}
		default:
			c.skip()
		}
	}
	if c.err != nil || mode == "data" {
		return
	}
	what := t.action(actions, address)
	if what == "" {
		return
	}
	t.changes[what]++
	if what != "destroy" && what != "replace" {
		return
	}
	f := assay.Finding{Rule: "terraform-" + what, Severity: assay.SeverityNone, Package: assay.Component{Name: kind}}
	f.Message = what + " " + address
	if deposed != "" {
		f.Message += " (a deposed object)"
	}
	if stateful.MatchString(kind) {
		f.Severity = assay.SeverityLow
		f.Message += ", whose type may hold data"
	}
	if reason != "" {
		f.Message += ": " + strings.ReplaceAll(reason, "_", " ")
	}
	f.Message = t.rep.text(f.Message, MaxMessage)
	f.Fingerprint = t.rep.prints.of("terraform", what, address, deposed)
	c.add(f)
}

// action names what a list of actions comes to, "" if nothing changes.
func (t *terraform) action(actions []string, address string) string {
	switch strings.Join(actions, " ") {
	case "no-op", "read", "":
		return ""
	case "create":
		return "create"
	case "update":
		return "update"
	case "delete":
		return "destroy"
	case "delete create", "create delete", "create forget":
		return "replace"
	case "forget":
		return "forget"
	}
	t.rep.note("%s: the actions %q are not known; they count as destroy", address, strings.Join(actions, ", "))
	return "destroy"
}

// check reads a check block or condition with its status.
func (t *terraform) check() {
	c := t.c
	var name, status string
	for key := range c.object() {
		switch key {
		case "address":
			for key := range c.object() {
				if key == "to_display" {
					name = c.name()
					continue
				}
				c.skip()
			}
		case "status":
			status = c.name()
		default:
			c.skip()
		}
	}
	if status != "fail" && status != "error" {
		return
	}
	c.add(assay.Finding{
		Rule: "terraform-check", Severity: assay.SeverityHigh, Message: t.rep.text("check of "+name+" has status "+status, MaxMessage),
		Fingerprint: t.rep.prints.of("terraform", "check", name),
	})
}
