package main

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/client"
	"assay.dev/assay/evidence"
	"assay.dev/assay/gameday"
	"assay.dev/assay/gate"
	"assay.dev/assay/ledger"
	"assay.dev/assay/policy"
	"assay.dev/assay/report"
	"assay.dev/assay/store"
	"github.com/spf13/cobra"
)

const (
	// completeTime bounds what a shell waits for: somebody is typing.
	completeTime = time.Second
	// completeMost is how many ids are offered, the newest.
	completeMost = 50
)

// offer answers what may stand in a place of the command line, each with words about it.
type offer func(ctx context.Context, c *client.Client) ([]cobra.Completion, error)

// words offers what is always the same.
func words[T ~string](list ...T) []cobra.Completion {
	out := make([]cobra.Completion, len(list))
	for i, w := range list {
		out[i] = cobra.Completion(w)
	}
	return out
}

// enumerated are the flags that take one of a few words, by the command that has them or ""
// for all.
func enumerated() map[string]map[string][]cobra.Completion {
	reports := words(gate.Formats...)
	for i := range reports {
		reports[i] += "="
	}
	period := map[string][]cobra.Completion{"period": words(report.Periods...)}
	return map[string]map[string][]cobra.Completion{
		"":                          {"output": words(outputs...), "log-level": words(logLevels...)},
		"assay evidence inspect":    {"format": words(evidence.Formats()...), "kind": words(assay.EvidenceKinds...)},
		"assay verify":              {"report": append(reports, summaryFormat+"=")},
		"assay attest":              {"report": append(reports, summaryFormat+"=")},
		"assay attestation create":  {"type": words(api.StatementTestResult, api.StatementVulns)},
		"assay ledger prove":        {"format": words(formatAssay, formatTlog)},
		"assay ledger facts":        {"kind": words(store.BuiltinUpcasters().Kinds()...)},
		"assay ledger witness":      {"algorithm": words(ledger.Ed25519, ledger.MLDSA44)},
		"assay report compliance":   {"framework": words(report.Frameworks()...), "format": words(reportFormats...)},
		"assay report verification": period,
		"assay token create":        {"role": words(api.Roles...)},
	}
}

// offered are the places that take what a server knows: the first argument of a command, or,
// after a space, a flag of it.
var offered = map[string]offer{
	"assay rollout watch": rolloutIDs, "assay rollout explain": rolloutIDs, "assay rollout approve": rolloutIDs,
	"assay rollout promote": rolloutIDs, "assay rollout abort": rolloutIDs, "assay rollout rollback": rolloutIDs,
	"assay decisions tail --rollout": rolloutIDs, "assay decisions replay --rollout": rolloutIDs,
	"assay decisions explain": decisionIDs, "assay decisions replay": decisionIDs,
	"assay exception approve": exceptionIDs, "assay exception revoke": exceptionIDs,
	"assay token revoke": tokenIDs, "assay key revoke": keyIDs, "assay ledger prove": factIDs,
	"assay strategy explain": strategyNames, "assay strategy allow": strategyNames, "assay strategy approve": strategyNames,
	"assay strategy refuse": strategyNames, "assay strategy clear": strategyNames, "assay strategy pause": strategyNames,
	"assay strategy resume": strategyNames, "assay strategy thaw": strategyNames,
	"assay model show": modelNames, "assay model refit": modelNames, "assay model rollback": modelNames,
	"assay attestation verify --digest": artifactDigests, "assay ledger facts --subject": artifactDigests,
	"assay slo status": objectiveNames, "assay slo explain": objectiveNames,
	"assay anomaly show": serviceNames, "assay anomaly list --service": serviceNames,
	"assay divergence show": serviceNames, "assay divergence list --service": serviceNames,
	"assay halt set --service": serviceNames, "assay halt lift --service": haltedServices,
}

// complete lets shells offer words for flags and arguments below cmd.
func (a *app) complete(cmd *cobra.Command) {
	path := cmd.CommandPath()
	lists := enumerated()
	if !cmd.HasParent() {
		path = ""
	}
	for flag, list := range lists[path] {
		// It fails for a flag that does not exist or has words already: a test looks at each.
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(list, nospace(list)))
	}
	switch path {
	case "assay policy schema":
		cmd.ValidArgsFunction = once(words(policy.Kinds...))
	case "assay gameday run":
		var names []string
		for _, s := range gameday.Scenarios() {
			names = append(names, s.Name)
		}
		cmd.ValidArgsFunction = cobra.FixedCompletions(words(names...), cobra.ShellCompDirectiveNoFileComp)
	}
	for place, o := range offered {
		command, flag, ofFlag := strings.Cut(place, " --")
		switch {
		case command != path:
		case ofFlag:
			_ = cmd.RegisterFlagCompletionFunc(flag, a.asked(o))
		default:
			ask := a.asked(o)
			cmd.ValidArgsFunction = func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
				if len(args) > 0 && path != "assay decisions replay" {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return ask(c, args, typed)
			}
		}
	}
	for place, of := range ofPolicy {
		if command, flag, _ := strings.Cut(place, " --"); command == path {
			_ = cmd.RegisterFlagCompletionFunc(flag, a.read(of))
		}
	}
	for _, sub := range cmd.Commands() {
		a.complete(sub)
	}
}

// nospace goes on right behind a word that ends in =.
func nospace(list []cobra.Completion) cobra.ShellCompDirective {
	if len(list) > 0 && strings.HasSuffix(list[0], "=") {
		return cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return cobra.ShellCompDirectiveNoFileComp
}

// once offers words for the first argument alone.
func once(list []cobra.Completion) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			list = nil
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// asked asks the server that is configured, if one is. Whatever goes wrong, nothing is
// offered and nothing said: it would stand in the middle of what somebody is typing.
func (a *app) asked(o offer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		if a.configure(cmd) != nil || a.cfg.get("server") == "" {
			return nil, none
		}
		a.log = slog.New(slog.NewTextHandler(io.Discard, nil))
		c, err := a.remote()
		if err != nil {
			return nil, none
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
		defer cancel()
		list, err := o(ctx, c)
		if err != nil {
			return nil, none
		}
		var out []cobra.Completion
		for _, w := range list {
			if strings.HasPrefix(w, typed) && len(out) < completeMost {
				out = append(out, w)
			}
		}
		return out, none | cobra.ShellCompDirectiveKeepOrder
	}
}

// about is a word with one line about it.
func about(word string, what ...string) cobra.Completion {
	return cobra.CompletionWithDesc(word, strings.Join(strings.Fields(strings.Join(what, " ")), " "))
}

func rolloutIDs(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Rollouts(ctx, completeMost)
	for _, r := range list {
		out = append(out, about(r.ID, r.Service, r.Plan.Canary, string(r.Status)))
	}
	return out, err
}

func decisionIDs(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Decisions(ctx, "", completeMost)
	for _, d := range list {
		out = append(out, about(string(d.ID), d.Strategy, string(d.Decision.Action.Kind), d.Decision.Action.Service, d.Recorded.Format(time.RFC3339)))
	}
	return out, err
}

func exceptionIDs(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Exceptions(ctx)
	for i := len(list) - 1; i >= 0; i-- { // the newest first
		if e := list[i]; e.State != assay.ExceptionRevoked {
			out = append(out, about(e.ID, string(e.State), strings.Join(e.Scope.Rules, " "), "by", e.Requester))
		}
	}
	return out, err
}

func tokenIDs(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Tokens(ctx)
	for _, t := range list {
		if t.Revoked.IsZero() {
			out = append(out, about(t.ID, t.Name))
		}
	}
	return out, err
}

func keyIDs(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Keys(ctx)
	for _, k := range list {
		out = append(out, about(k.ID, k.Name))
	}
	return out, err
}

func factIDs(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Facts(ctx, nil, "", completeMost)
	for _, f := range list {
		if f.Retention == assay.RetainAudit { // no other has a proof
			out = append(out, about(string(f.ID), f.Kind, "by", f.Actor))
		}
	}
	return out, err
}

func artifactDigests(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Artifacts(ctx, "", completeMost)
	for _, r := range list {
		out = append(out, about(string(r.Subject.Digest), r.Subject.Name))
	}
	return out, err
}

func strategyNames(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Strategies(ctx)
	for _, s := range list {
		out = append(out, about(s.Name, s.Service, s.Law))
	}
	return out, err
}

func modelNames(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Models(ctx)
	for _, m := range list {
		out = append(out, about(m.Name, string(m.Kind), m.Active))
	}
	return out, err
}

func objectiveNames(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Objectives(ctx)
	for _, o := range list {
		out = append(out, about(o.Objective.Name, o.Objective.Service, o.Objective.Description))
	}
	return out, err
}

// serviceNames are the services that something was promised of, or that a strategy acts for.
func serviceNames(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
	objectives, err := c.Objectives(ctx)
	if err != nil {
		return nil, err
	}
	strategies, err := c.Strategies(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, o := range objectives {
		names = append(names, o.Objective.Service)
	}
	for _, s := range strategies {
		names = append(names, s.Service)
	}
	slices.Sort(names)
	return words(slices.Compact(names)...), nil
}

func haltedServices(ctx context.Context, c *client.Client) (out []cobra.Completion, err error) {
	list, err := c.Halts(ctx)
	for _, h := range list {
		if h.Service != "" {
			out = append(out, about(h.Service, h.Reason))
		}
	}
	return out, err
}
