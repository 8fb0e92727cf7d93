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
