package control_test

import (
	"testing"

	"assay.dev/assay/api"
	"assay.dev/assay/control/controltest"
)

func TestAnAgentSpeaksForItselfOnly(t *testing.T) {
	in := controltest.New(t)
	ctx := t.Context()
	say := func(caller string, role api.Role, source string, images ...string) api.InventoryChange {
		t.Helper()
		r := api.InventoryReport{Source: source, Environment: "prod", Complete: true, Sightings: []api.Sighting{}}
		for _, i := range images {
			r.Sightings = append(r.Sightings, api.Sighting{Service: "s", Image: i})
		}
		c, err := in.As(caller, "default", role).Report(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	say("host-1", api.RoleAgent, "", "one:1")
	say("host-1", api.RoleAgent, "disk", "two:1")
	for _, source := range []string{"host-1", "host-1/disk", "disk"} {
		if c := say("host-2", api.RoleAgent, source); c.Gone != 0 {
			t.Errorf("host-2 ended %d sightings by the name of %s", c.Gone, source)
		}
	}
	list, err := in.As("vic", "default", api.RoleViewer).Inventory(ctx, "", "")
	if err != nil || len(list) != 2 || list[0].Source != "host-1" || list[1].Source != "host-1/disk" {
		t.Fatalf("%+v, %v", list, err)
	}
	if c := say("host-1", api.RoleAgent, "host-1/disk"); c.Gone != 1 {
		t.Errorf("an agent ended %d sightings of its own part", c.Gone)
	}
	if c := say("olga", api.RoleOperator, "host-1"); c.Gone != 1 {
		t.Errorf("an operator ended %d sightings of a host that is no more", c.Gone)
	}
}
