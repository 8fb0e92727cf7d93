package main

import (
	"context"
	"slices"
	"strings"

	"assay.dev/assay/control"
	"github.com/spf13/cobra"
)

// declared answers what may stand in a flag by the policy directory.
type declared func(p control.Policy, namespace string) []cobra.Completion

// ofPolicy are the flags that take what a policy directory declares, by their command and name.
var ofPolicy = map[string]declared{
	"assay verify --gate": gateNames, "assay attest --gate": gateNames, "assay admit check --door": doorNames,
	"assay verify --environment": environmentNames, "assay attest --environment": environmentNames, "assay admit check --environment": environmentNames,
	"assay exception request --rule": ruleNames, "assay exception bypass --rule": ruleNames,
	"assay exception request --environment": environmentNames, "assay exception bypass --environment": environmentNames,
}

// read offers by the policy directory, if there is one here. Whatever is wrong with it,
// nothing is offered and nothing said; lint says it.
func (a *app) read(of declared) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		if a.configure(cmd) != nil {
			return nil, none
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
		defer cancel()
		p, err := a.loadPolicy(ctx)
		if err != nil {
			return nil, none
		}
		list := of(p, a.cfg.get("namespace"))
		slices.Sort(list)
		list = slices.Compact(list)
		return slices.DeleteFunc(list, func(w cobra.Completion) bool { return !strings.HasPrefix(w, typed) }), none
	}
}

func gateNames(p control.Policy, _ string) (out []cobra.Completion) {
	for _, g := range p.Revision.Gates() {
		out = append(out, about(g.Metadata.Name, g.Spec.ResourceURI))
	}
	return out
}

func doorNames(p control.Policy, _ string) (out []cobra.Completion) {
	for _, d := range p.Revision.Admissions() {
		out = append(out, about(d.Metadata.Name, "of", d.Spec.Environment))
	}
	return out
}

func environmentNames(p control.Policy, _ string) (out []cobra.Completion) {
	for _, g := range p.Revision.Gates() {
		out = append(out, words(g.Spec.Environments...)...)
	}
	for _, d := range p.Revision.Admissions() {
		out = append(out, cobra.Completion(d.Spec.Environment))
	}
	return out
}

// ruleNames are the rules by which the gates, doors and policies of a namespace object.
func ruleNames(p control.Policy, namespace string) []cobra.Completion {
	return words(control.Rules(p, namespace)...)
}
