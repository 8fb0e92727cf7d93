package control

import (
	"fmt"
	"strings"
	"testing"
)

func TestARuleWhoseNameIsPutTogetherIsOneOfItsForm(t *testing.T) {
	known := map[string]bool{"ship/of-*": true, "ship/*-has-*-in": true, "ship/plain": true}
	for rule, want := range map[string]bool{
		"ship/of-a": true, "ship/of-": true, "ship/off": false, "shop/of-a": false, "ship/plain": false, "ship/plain/of-a": false,
		"ship/a-has-7-in": true, "ship/a-has-7-on": false, "ship/a-has-in": false, "ship/.of-a": false,
	} {
		if got := formed(rule, known); got != want {
			t.Errorf("%s: %t", rule, got)
		}
	}
}

func TestAnErrorNamesAsManyRulesAsOneReads(t *testing.T) {
	var names []string
	for i := range 14 {
		names = append(names, fmt.Sprintf("ship/r%d", i))
	}
	for n, end := range map[int]string{1: "ship/r0", 13: "ship/r12", 14: "ship/r11 and 2 more"} {
		if got := someOf(names[:n]); !strings.HasSuffix(got, end) || !strings.HasPrefix(got, "ship/r0") {
			t.Errorf("%d rules are %q", n, got)
		}
	}
}
