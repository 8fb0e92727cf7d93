package slo_test

import (
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/slo"
)

func annotated(t *testing.T, annotations string) (*slo.Regions, error) {
	t.Helper()
	text := strings.Replace(sample, "  name: shop-errors\n", "  name: shop-errors\n  annotations: {"+annotations+"}\n", 1)
	if text == sample {
		t.Fatal("the sample has no place for annotations")
	}
	set, err := slo.Parse("slo.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	list, err := slo.Resolve(set)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	return list[0].Regions, nil
}

func TestAnSLONamesItsRegionsInAnnotations(t *testing.T) {
	for text, want := range map[string]*slo.Regions{
		`team: shop`:                 nil,
		`assay.dev/regions: cluster`: {Label: "cluster", Bound: 0.02, Error: 0.01},
		`assay.dev/regions: region, assay.dev/divergence: "0.5%", assay.dev/divergence-error: "0.001"`: {Label: "region", Bound: 0.005, Error: 0.001},
	} {
		got, err := annotated(t, text)
		if err != nil || (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestAnnotationsThatCannotBeAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`assay.dev/region: region`:                                   `(did you mean "assay.dev/regions"?)`,
		`assay.dev/divergence: 2%`:                                   "needs assay.dev/regions",
		`assay.dev/regions: "a b"`:                                   `"a b" is not the name of a label`,
		`assay.dev/regions: region, assay.dev/divergence: much`:      `"much" is not a share above 0`,
		`assay.dev/regions: region, assay.dev/divergence: 60%`:       `"60%" is not a share above 0`,
		`assay.dev/regions: region, assay.dev/divergence: NaN`:       `"NaN" is not a share above 0`,
		`assay.dev/regions: region, assay.dev/divergence-error: "0"`: `"0" is not a probability above 0`,
		`assay.dev/regions: region, assay.dev/divergence-error: -1%`: `"-1%" is not a probability above 0`,
	} {
		if _, err := annotated(t, text); err == nil || !strings.Contains(err.Error(), want) || assay.CodeOf(err) != assay.CodeInvalid {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
