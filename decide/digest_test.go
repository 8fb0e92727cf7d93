package decide

import (
	"reflect"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/infer"
)

// Whatever a plan declares is part of what a decision was made of: each field alone,
// changed, changes the digest. A field that is added and forgotten fails here.
func TestDigestCoversEveryFieldOfAPlan(t *testing.T) {
	full := func() *Plan {
		p := NewPlan()
		p.Fixed = &FixedLooks{Requests: 100, Looks: 2, Spending: infer.Pocock}
		p.Indicators = []Indicator{{Bounds: []float64{1}, Classes: []string{"timeout"}, Calibration: &Calibration{}, Persistence: &infer.Index{}}}
		return &p
	}
	of := func(p *Plan) string { return string(digest(*p, State{}, nil, nil, time.Unix(1, 0))) }
	want, fields := of(full()), 0
	var visit func(at func(*Plan) reflect.Value, name string)
	visit = func(at func(*Plan) reflect.Value, name string) {
		p := full()
		v := at(p)
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				visit(func(p *Plan) reflect.Value { return at(p).Field(i) }, name+"."+v.Type().Field(i).Name)
			}
			return
		case reflect.Pointer:
			visit(func(p *Plan) reflect.Value { return at(p).Elem() }, name)
			v.SetZero()
		case reflect.Slice:
			visit(func(p *Plan) reflect.Value { return at(p).Index(0) }, name+"[0]")
			v.SetLen(v.Len() - 1)
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Uint64:
			v.SetUint(v.Uint() + 1)
		case reflect.Float64:
			v.SetFloat(v.Float() + 0.5)
		default:
			t.Fatalf("%s is a %s, which is not known here", name, v.Kind())
		}
		if fields++; of(p) == want {
			t.Errorf("changing %s does not change the digest", name)
		}
	}
	visit(func(p *Plan) reflect.Value { return reflect.ValueOf(p).Elem() }, "Plan")
	if fields < 45 {
		t.Errorf("only %d fields were changed", fields)
	}
}

// What came from a second source is another input than the same counts from the first.
func TestDigestTellsSourcesApart(t *testing.T) {
	of := func(read, seen string) string {
		return string(digest(NewPlan(), State{Watches: []Watch{{Instead: seen}}}, []assay.Reading{{Indicator: "errors", Instead: read}}, nil, time.Unix(1, 0)))
	}
	if of("", "") == of("silent", "") || of("", "") == of("", "silent") || of("silent", "") == of("", "silent") {
		t.Error("readings or states of two sources have one digest")
	}
}

// What replicas counted is an input, and which were compared last is remembered.
func TestDigestTellsReplicasApart(t *testing.T) {
	of := func(read []assay.Replica, seen []string, beside infer.Slot) string {
		state := State{Watches: []Watch{{Replicas: seen, Bursts: []Bursts{{Stretch: &Stretch{Beside: beside}}}}}}
		return string(digest(NewPlan(), state, []assay.Reading{{Indicator: "errors", Replicas: read}}, nil, time.Unix(1, 0)))
	}
	seen := map[string]bool{}
	all := []string{
		of(nil, nil, nil),
		of([]assay.Replica{{Name: "a"}}, nil, nil),
		of([]assay.Replica{{Name: "b"}}, nil, nil),
		of([]assay.Replica{{Name: "a", Good: 1}}, nil, nil),
		of([]assay.Replica{{Name: "a", Total: 1}}, nil, nil),
		of([]assay.Replica{{Name: "a", Buckets: []assay.Bucket{{LE: 1}}}}, nil, nil),
		of([]assay.Replica{{Name: "a", Buckets: []assay.Bucket{{LE: 1, Count: 1}}}}, nil, nil),
		of([]assay.Replica{{Name: "a", Classes: []assay.Class{{Name: "timeout"}}}}, nil, nil),
		of(nil, []string{"a", "b"}, nil),
		of(nil, []string{"a", "c"}, nil),
		of(nil, nil, infer.Slot{{Events: 1, Exposure: 2}}),
		of(nil, nil, infer.Slot{{Events: 2, Exposure: 2}}),
	}
	for _, d := range all {
		seen[d] = true
	}
	if len(seen) != len(all) {
		t.Errorf("%d different inputs have %d digests", len(all), len(seen))
	}
}
