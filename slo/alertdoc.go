package slo

import (
	"slices"
	"strings"

	"assay.dev/assay/internal/strict"
)

type conditionDoc struct {
	head
	Spec conditionSpec `json:"spec"`
}

type conditionSpec struct {
	Description string `json:"description"`
	Severity    string `json:"severity"`
	Condition   struct {
		Kind           string    `json:"kind"`
		Op             string    `json:"op"`
		Threshold      *Factor   `json:"threshold"`
		LookbackWindow *Duration `json:"lookbackWindow"`
		AlertAfter     *Duration `json:"alertAfter"`
	} `json:"condition"`
}

type policyDoc struct {
	head
	Spec struct {
		Description         string          `json:"description"`
		AlertWhenBreaching  bool            `json:"alertWhenBreaching"`
		AlertWhenResolved   bool            `json:"alertWhenResolved"`
		AlertWhenNoData     bool            `json:"alertWhenNoData"`
		Conditions          []conditionItem `json:"conditions"`
		NotificationTargets []targetItem    `json:"notificationTargets"`
	} `json:"spec"`
}

// conditionItem is a reference or a whole AlertCondition.
type conditionItem struct {
	conditionDoc
	ConditionRef string `json:"conditionRef"`
}

// targetItem is a reference or a whole AlertNotificationTarget.
type targetItem struct {
	targetDoc
	TargetRef string `json:"targetRef"`
}

func readCondition(d strict.Document) (Condition, error) {
	var doc conditionDoc
	if err := d.Decode(&doc); err != nil {
		return Condition{}, err
	}
	if err := doc.Metadata.check(d); err != nil {
		return Condition{}, err
	}
	return doc.condition(d)
}

func (doc conditionDoc) condition(d strict.Document, at ...string) (Condition, error) {
	in := func(more ...string) []string { return append(append([]string(nil), at...), more...) }
	c := doc.Spec.Condition
	switch {
	case !strings.EqualFold(c.Kind, "burnrate"):
		return Condition{}, d.Errorf(in("spec", "condition", "kind"), "%s", strict.OneOf(c.Kind, []string{"burnrate"}))
	case !slices.Contains(ops, c.Op):
		return Condition{}, d.Errorf(in("spec", "condition", "op"), "%s", strict.OneOf(c.Op, ops))
	case c.Threshold == nil:
		return Condition{}, d.Errorf(in("spec", "condition"), "has no threshold")
	case c.LookbackWindow == nil:
		return Condition{}, d.Errorf(in("spec", "condition"), "has no lookbackWindow")
	}
	out := Condition{
		Name: doc.Metadata.Name, Severity: doc.Spec.Severity, Op: c.Op,
		Threshold: *c.Threshold, Lookback: *c.LookbackWindow,
	}
	if c.AlertAfter != nil {
		out.After = *c.AlertAfter
	}
	return out, nil
}

// addPolicy keeps a policy with exactly one condition, as OpenSLO demands.
func (s *Set) addPolicy(d strict.Document) error {
	var doc policyDoc
	if err := d.Decode(&doc); err != nil {
		return err
	}
	if err := doc.Metadata.check(d); err != nil {
		return err
	}
	if n := len(doc.Spec.Conditions); n != 1 {
		return d.Errorf([]string{"spec", "conditions"}, "has %d entries; OpenSLO v1 allows exactly one", n)
	}
	p := AlertPolicy{Name: doc.Metadata.Name, Breaching: doc.Spec.AlertWhenBreaching, Resolved: doc.Spec.AlertWhenResolved, NoData: doc.Spec.AlertWhenNoData}
	inline := []Condition(nil)
	switch c := doc.Spec.Conditions[0]; {
	case c.ConditionRef != "":
		p.Condition = c.ConditionRef
	default:
		if err := c.Metadata.check(d, "spec", "conditions", "0"); err != nil {
			return err
		}
		got, err := c.condition(d, "spec", "conditions", "0")
		if err != nil {
			return err
		}
		inline, p.Condition = append(inline, got), got.Name
	}
	for i, t := range doc.Spec.NotificationTargets {
		name := t.TargetRef
		if name == "" {
			name = t.Metadata.Name
		}
		if name == "" {
			return d.Errorf(at("notificationTargets", i), "has neither targetRef nor a name")
		}
		p.Targets = append(p.Targets, name)
	}
	s.Policies = append(s.Policies, p)
	s.Conditions = append(s.Conditions, inline...)
	return nil
}
