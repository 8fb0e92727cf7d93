package evidence

import (
	"strings"

	"assay.dev/assay"
)

// readKubeconform reads the output of kubeconform -output json. A resource that
// is not valid is a high finding, one that could not be checked an error of
// unknown severity. Resources that were skipped are counted in the notes.
func readKubeconform(r *report) error {
	r.ev.Tool = assay.Tool{Name: "kubeconform"}
	k := &kubeconform{rep: r, c: newCursor(r)}
	c := k.c
	seen := false
	var valid, skipped int
	for key := range c.document() {
		switch key {
		case "resources":
			seen = true
			for range c.array() {
				k.resource()
			}
		case "summary":
			for key := range c.object() {
				switch key {
				case "valid":
					valid = c.whole()
				case "skipped":
					skipped = c.whole()
				default:
					c.skip()
				}
			}
		default:
			c.skip()
		}
	}
	switch {
	case c.err != nil:
		return c.err
	case !seen:
		return missing("resources", "a list")
	}
	r.count("valid", max(valid, k.valid))
	if n := max(skipped, k.skipped); n > 0 {
		r.count("not-validated", n)
		r.note("%s not validated: kubeconform skipped what it has no schema for", plural(n, "resource was", "resources were"))
	}
	return nil
}

type kubeconform struct {
	rep            *report
	c              *cursor
	valid, skipped int
}

func (k *kubeconform) resource() {
	c := k.c
	var file, kind, name, status, msg string
	var problems []string
	for key := range c.object() {
		switch key {
		case "filename":
			file = c.name()
		case "kind":
			kind = c.name()
		case "name":
			name = c.name()
		case "status":
			status = c.name()
		case "msg":
			msg = c.text(MaxMessage)
		case "validationErrors":
			for range c.array() {
				problems = k.rep.list(problems, k.problem())
			}
		default:
			c.skip()
		}
	}
	f := assay.Finding{Location: assay.Location{File: file}, Severity: assay.SeverityHigh}
	switch status {
	case "statusValid":
		k.valid++
		return
	case "statusSkipped":
		k.skipped++
		return
	case "statusEmpty":
		return
	case "statusInvalid":
		f.Rule = "manifest-invalid"
	default: // statusError, or a word of a later version
		f.Rule, f.Severity = "manifest-not-checked", assay.SeverityUnknown
	}
	if len(problems) > 0 {
		msg = strings.Join(problems, "; ")
	}
	what := strings.TrimSpace(kind + " " + name)
	f.Message = k.rep.text(strings.TrimPrefix(what+": "+msg, ": "), MaxMessage)
	f.Fingerprint = k.rep.prints.of("kubeconform", f.Rule, fileKey(file), what, messageKind(msg))
	c.add(f)
}

func (k *kubeconform) problem() string {
	c := k.c
	var path, msg string
	for key := range c.object() {
		switch key {
		case "path":
			path = c.name()
		case "msg":
			msg = c.name()
		default:
			c.skip()
		}
	}
	return strings.TrimSpace(path + " " + msg)
}

// readKubectlValidate reads the output of kubectl validate -o json: for each
// file, the status that the API server would answer for each of its objects.
func readKubectlValidate(r *report) error {
	r.ev.Tool = assay.Tool{Name: "kubectl-validate"}
	c := newCursor(r)
	valid := 0
	for file := range c.document() {
		for range c.array() {
			if readStatus(c, file) {
				valid++
			}
		}
	}
	if c.err != nil {
		return c.err
	}
	if valid == 0 && len(r.ev.Findings) == 0 {
		r.note("no object was validated")
	}
	r.count("valid", valid)
	return nil
}

// readStatus reads one metav1.Status and reports whether it is a success.
func readStatus(c *cursor, file string) bool {
	var status, message, reason, kind, name string
	var causes []string
	for key := range c.object() {
		switch key {
		case "status":
			status = c.name()
		case "message":
			message = c.text(MaxMessage)
		case "reason":
			reason = c.name()
		case "details":
			for key := range c.object() {
				switch key {
				case "kind":
					kind = c.name()
				case "name":
					name = c.name()
				case "causes":
					for range c.array() {
						causes = c.rep.list(causes, readCause(c))
					}
				default:
					c.skip()
				}
			}
		default:
			c.skip()
		}
	}
	if status == "Success" {
		return true
	}
	f := assay.Finding{Rule: "manifest-invalid", Severity: assay.SeverityHigh, Message: message, Location: assay.Location{File: clean(file, MaxName).s}}
	if reason != "" && reason != "Invalid" {
		f.Rule, f.Severity = "manifest-not-checked", assay.SeverityUnknown
	}
	if len(causes) > 0 {
		f.Message = c.rep.text(strings.TrimSpace(kind+" "+name)+": "+strings.Join(causes, "; "), MaxMessage)
	}
	if f.Message == "" {
		f.Message = "the object is not valid"
	}
	f.Fingerprint = c.rep.prints.of("kubectl-validate", f.Rule, fileKey(file), kind, name, messageKind(f.Message))
	c.add(f)
	return false
}

func readCause(c *cursor) string {
	var field, message string
	for key := range c.object() {
		switch key {
		case "field":
			field = c.name()
		case "message":
			message = c.name()
		default:
			c.skip()
		}
	}
	return strings.TrimSpace(field + " " + message)
}
