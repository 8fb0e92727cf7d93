package slo_test

import (
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/slo"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("[{apiVersion: openslo/v1, kind: Service, metadata: {name: a}, spec: {}}]"))
	f.Add([]byte("apiVersion: openslo/v1\nkind: AlertPolicy\nmetadata: {name: a}\nspec: {conditions: [{conditionRef: b}], notificationTargets: [{targetRef: c}]}"))
	f.Add([]byte("apiVersion: openslo/v1\nkind: SLO\nspec: {alertPolicies: , timeWindow: [{duration: 1M, calendar: {startTime: 2020-01-31 00:00:00, timeZone: UTC}}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := slo.Parse("f.yaml", data)
		for _, p := range problems(err) {
			if assay.CodeOf(p) == assay.CodeInternal {
				t.Fatalf("%v is not an error a person can act on", p)
			}
		}
		if set == nil {
			return
		}
		objectives, _ := slo.Resolve(set)
		for _, o := range objectives {
			if o.Target >= slo.One || o.Window.Duration.Longest() > slo.MaxWindow {
				t.Fatalf("%+v", o)
			}
			_, _, _ = o.Window.Bounds(epoch)
		}
	})
}

func FuzzScalars(f *testing.F) {
	for _, s := range []string{"0.995", "1", "30d", "14.4", "1M", "999999999.999999999", "."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r slo.Ratio
		if r.UnmarshalText(data) == nil && r > slo.One {
			t.Fatalf("%q is %d", data, r)
		}
		var d slo.Duration
		if d.UnmarshalText(data) == nil && (d.Longest() <= 0 || d.String() != string(data)) {
			t.Fatalf("%q is %v", data, d)
		}
		var x slo.Factor
		_ = x.UnmarshalText(data)
	})
}
