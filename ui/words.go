package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/report"
	"assay.dev/assay/slo"
)

// funcs are what templates can call.
func (u *ui) funcs() template.FuncMap {
	return template.FuncMap{
		"ago": ago, "chip": chip, "icon": icon, "num": num, "rate": ratePercent, "short": short, "id": shortID,
		"took": took, "hundredths": hundredths, "evalue": evalue, "bar": bar, "pretty": pretty, "static": u.address, "upper": strings.ToUpper,
		"join": strings.Join, "plural": plural, "percent": percent, "clock": clock, "times": times, "sentence": sentence,
		"outcome": outcomeState, "status": statusState, "effect": effectState, "requirement": requirementState,
		"exception": exceptionState, "factlabel": factLabel, "until": until, "burn": burnState,
		"ratio": ratio, "between": between, "times0": burnRate, "plural64": func(n uint64, one, many string) string { return plural(int(n), one, many) }, // entries fit an int
		"badCount": func(n int) state { return state{"bad", num(n)} }, "whole": func(v float64) string { return num(int64(math.Ceil(finite(v)))) }, "budgetShare": budgetShare, "deref": func(v *float64) float64 { return *v }, "change": changeWords, "divergence": divergenceWords, "arm": armWords,
		"targetwords": targetWords, "lever": leverValue, "slowest": func(r report.Revert) string { return took(time.Duration(r.Slowest * float64(time.Second))) }, "turnspart": turnsPart, "turnstone": turnsTone, "channel": channel, "verdict": verdictState,
		"part": func(v, of float64) float64 { return part01(v, of) }, "share01": func(p int) float64 { return float64(p) / 100 },
	}
}

// state is a word with the tone it is said in. Colour never stands alone.
type state struct {
	Tone string // ok, bad, warn, unknown, active or quiet: a class and an icon
	Word string
}

func statusState(s api.RolloutStatus) state {
	switch s {
	case api.RolloutStarting:
		return state{"active", "starting"}
	case api.RolloutRunning:
		return state{"active", "running"}
	case api.RolloutAsking:
		return state{"warn", "waits for you"}
	case api.RolloutWatching:
		return state{"active", "promoted, watched"}
	case api.RolloutReverted:
		return state{"bad", "taken back"}
	case api.RolloutPromoted:
		return state{"ok", "promoted"}
	case api.RolloutAborted:
		return state{"bad", "stopped"}
	case api.RolloutRefused:
		return state{"bad", "refused"}
	case api.RolloutFailed:
		return state{"bad", "failed"}
	}
	return state{"unknown", string(s)}
}

func outcomeState(o assay.Outcome) state {
	switch o {
	case assay.OutcomePass:
		return state{"ok", "pass"}
	case assay.OutcomeFail:
		return state{"bad", "fail"}
	}
	return state{"unknown", string(o)}
}

func effectState(e assay.Effect) state {
	switch e {
	case assay.EffectHelped:
		return state{"ok", "helped"}
	case assay.EffectHarmed:
		return state{"bad", "harmed"}
	case assay.EffectNone:
		return state{"quiet", "no effect"}
	}
	return state{"unknown", string(e)}
}

func requirementState(s assay.RequirementState) state {
	switch s {
	case assay.Satisfied:
		return state{"ok", "satisfied"}
	case assay.Violated:
		return state{"bad", "violated"}
	}
	return state{"unknown", "absent"}
}

func exceptionState(e assay.Exception, now time.Time) state {
	switch {
	case e.State == assay.ExceptionRevoked && e.Approver == "" && !e.Emergency && samePerson(e.Revoker, e.Requester):
		return state{"quiet", "withdrawn"}
	case e.State == assay.ExceptionRevoked && e.Approver == "" && !e.Emergency:
		return state{"quiet", "denied"}
	case e.State == assay.ExceptionRevoked:
		return state{"quiet", "revoked"}
	case !now.Before(e.NotAfter):
		return state{"quiet", "ended"}
	case e.State == assay.ExceptionRequested:
		return state{"warn", "waits for approval"}
	case now.Before(e.NotBefore):
		return state{"active", "not yet in force"}
	}
	return state{"ok", "in force"}
}

func burnState(s slo.State) state {
	switch s {
	case slo.StateOK:
		return state{"ok", "ok"}
	case slo.StateFiring:
		return state{"bad", "firing"}
	}
	return state{"unknown", "unknown"}
}

// icon refers to a picture of the sprite in the shell.
func icon(name string) template.HTML {
	return template.HTML(`<svg class="icon" width="14" height="14" aria-hidden="true"><use href="#i-` + template.HTMLEscapeString(name) + `"/></svg>`) // escaped
}

// chip is a state as a person sees it: icon, word and colour.
func chip(s state) template.HTML {
	return template.HTML(`<span class="chip `+template.HTMLEscapeString(s.Tone)+`">`) + icon(s.Tone) + // escaped
		template.HTML(template.HTMLEscapeString(s.Word)+`</span>`) // escaped
}

// ago says how long before now t was. The browser keeps the text up to date.
func ago(now, t time.Time) template.HTML {
	if t.IsZero() {
		return `<span class="dim">never</span>`
	}
	d := now.Sub(t)
	text := span(d) + " ago"
	switch {
	case d < -time.Second:
		text = "in " + span(-d)
	case d < time.Second:
		text = "now"
	}
	return timeElement(t, "ago", text)
}

// until says how much time is left before t.
func until(now, t time.Time) template.HTML {
	text := "over"
	if d := t.Sub(now); d > 0 {
		text = span(d) + " left"
	}
	return timeElement(t, "left", text)
}

func timeElement(t time.Time, kind, text string) template.HTML {
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" data-%s title="%s">%s</time>`, // made of times
		t.Format(time.RFC3339), kind, t.Format("2006-01-02 15:04:05 UTC"), text))
}

// clock is a time of day, for lists of what happened.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// span is a length of time in its largest unit that says enough.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// took is a short length of time with the digits that matter.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	}
	return span(d)
}

// num writes a count with separators.
func num(v any) string {
	switch n := v.(type) {
	case int:
		return group(strconv.Itoa(n))
	case int64:
		return group(strconv.FormatInt(n, 10))
	case uint64:
		return group(strconv.FormatUint(n, 10))
	case float64:
		switch {
		case math.IsNaN(n) || math.IsInf(n, 0):
			return "–"
		case math.Abs(n) >= 100:
			return group(strconv.FormatFloat(n, 'f', 0, 64))
		}
		return strconv.FormatFloat(n, 'g', 3, 64)
	}
	return fmt.Sprint(v)
}

func group(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "−", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

// percent writes a share with the digits that a small one needs.
func percent(share float64) string {
	p := 100 * share
	switch a := math.Abs(p); {
	case math.IsNaN(p) || math.IsInf(p, 0):
		return "–"
	case a == 0:
		return "0 %"
	case a < 0.01:
		return "< 0.01 %"
	case a < 1:
		return trim(strconv.FormatFloat(p, 'f', 2, 64)) + " %"
	case a < 10:
		return trim(strconv.FormatFloat(p, 'f', 1, 64)) + " %"
	}
	return group(strconv.FormatFloat(p, 'f', 0, 64)) + " %"
}

func trim(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "0"), ".") }

func ratePercent(r assay.Rate) string {
	if r.Total == 0 {
		return "no data"
	}
	return percent(float64(r.Bad) / float64(r.Total))
}

// times writes a ratio, "3.9×"; 0 and what is not finite are an open end.
func times(v float64) string {
	if v <= 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return "…"
	}
	if v >= 10 {
		return strconv.FormatFloat(v, 'f', 0, 64) + "×"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + "×"
}

// hundredths writes a small number; what is rounded to nothing has no sign.
func hundredths(v float64) string {
	if s := strconv.FormatFloat(v, 'f', 2, 64); s != "-0.00" {
		return s
	}
	return "0.00"
}

// timesShort is times in the width that the labels of a narrow chart have.
func timesShort(v float64) string { return strings.Replace(times(v), ".0×", "×", 1) }

// evalue writes an e value from its logarithm: how many times likelier the data
// are under the one account than under the other.
func evalue(logE float64) string {
	switch {
	case math.IsNaN(logE) || math.IsInf(logE, 0):
		return "–"
	case logE > 14 || logE < -9:
		return "10" + superscript.Replace(fmt.Sprintf("%.0f", logE/math.Ln10))
	case logE < -2.3:
		return strconv.FormatFloat(math.Exp(logE), 'g', 1, 64)
	case logE < 2.3:
		return strconv.FormatFloat(math.Exp(logE), 'f', 1, 64)
	}
	return group(strconv.FormatFloat(math.Exp(logE), 'f', 0, 64))
}

// burnRate writes how fast a budget burns; 0 is a rate like any other.
func burnRate(v float64) string {
	if v == 0 {
		return "0×"
	}
	return times(v)
}

// superscript raises digits.
var superscript = strings.NewReplacer("-", "⁻", "0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹")

// between writes an interval of ratios; an end at 0 is open.
func between(low, high float64) string {
	from, to := "0", "∞"
	if low > 0 {
		from = times(low)
	}
	if high > 0 && !math.IsInf(high, 0) {
		to = times(high)
	}
	return from + " to " + to
}

// ratio is how many times one rate is the other; 0 if nobody can say.
func ratio(a, b assay.Rate) float64 {
	if a.Total == 0 || b.Total == 0 || b.Bad == 0 {
		return 0
	}
	return float64(a.Bad) / float64(a.Total) / (float64(b.Bad) / float64(b.Total))
}

func short(d assay.Digest) string { return d.Short() }

// shortID keeps both ends of a UUIDv7: ids of one minute begin alike.
func shortID(id any) string {
	s := fmt.Sprint(id)
	if len(s) < 16 {
		return s
	}
	return s[:8] + "…" + s[len(s)-4:]
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return num(n) + " " + many
}

// pretty indents a payload; what is no JSON is shown as it is.
func pretty(raw json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return string(raw)
	}
	return b.String()
}

// factLabel is a kind of fact in words.
func factLabel(kind string) string {
	stage, event, ok := strings.Cut(kind, ".")
	if !ok {
		return kind
	}
	return stage + " " + strings.ReplaceAll(event, "_", " ")
}

// bar is a share of something as a filled line. It stays full above 1.
func bar(share float64, tone string) template.HTML {
	if math.IsNaN(share) {
		share = 0
	}
	share = max(0, min(1, share))
	return template.HTML(fmt.Sprintf(`<svg class="bar %s" width="100%%" height="6" aria-hidden="true">`+ // escaped
		`<rect class="track" width="100%%" height="6" rx="3"/><rect class="fill" width="%.1f%%" height="6" rx="3"/></svg>`,
		template.HTMLEscapeString(tone), 100*share))
}
