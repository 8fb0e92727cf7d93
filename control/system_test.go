package control_test

import (
	"slices"
	"testing"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/artifact"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/store"
)

func kinds(facts []assay.Fact) []string {
	var list []string
	for _, f := range facts {
		list = append(list, f.Kind)
	}
	return list
}

func TestFactsOfTheInstallationAreReadByOperatorsAndAdmins(t *testing.T) {
	in := controltest.New(t)
	ctx := t.Context()
	if err := in.As("root", "default", api.RoleOperator).RecordKey(ctx, "key", in.VKey); err != nil {
		t.Fatal(err)
	}
	admin := in.As("root", "default", api.RoleAdmin)
	made, err := admin.CreateToken(ctx, api.TokenRequest{Name: "ci", Roles: []api.Role{api.RoleDeveloper}, Expires: in.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	list, err := admin.System().Facts(ctx, nil, "", 10)
	if want := []string{assay.FactTokenCreated, assay.FactKeyCreated}; err != nil || !slices.Equal(kinds(list), want) {
		t.Fatalf("facts %v, %v; want %v", kinds(list), err, want)
	}
	key := list[1].ID
	ask := map[string]func(s *control.Session) error{
		"facts":       func(s *control.Session) error { _, err := s.System().Facts(ctx, nil, "", 10); return err },
		"publication": func(s *control.Session) error { _, err := s.System().Publication(ctx, key); return err },
		"proof":       func(s *control.Session) error { _, err := s.System().Proof(ctx, key); return err },
	}
	for what, call := range ask {
		for _, role := range api.Roles {
			want := assay.CodeDenied
			if role == api.RoleOperator || role == api.RoleAdmin {
				want = ""
			}
			wantCode(t, what+" as "+string(role), call(in.As("somebody", "default", role)), want)
		}
		wantCode(t, what+" without a role", call(in.As("nobody", "default")), assay.CodeDenied)
	}
	proof, err := admin.System().Proof(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	proven, err := artifact.VerifyFactProof(proof, in.VKey)
	if err != nil || proven.Kind != assay.FactKeyCreated || proven.ID != key || proven.Namespace != store.SystemNamespace {
		t.Errorf("proven %+v, %v", proven, err)
	}
	// Without being asked for they stay out of sight, whatever the role.
	_, err = admin.Proof(ctx, key)
	wantCode(t, "proof among the namespace's own", err, assay.CodeNotFound)

	// A namespace's tokens are nobody else's business.
	stranger := in.As("eve", "team-a", api.RoleOperator, api.RoleAdmin)
	list, err = stranger.System().Facts(ctx, nil, "", 10)
	if want := []string{assay.FactKeyCreated}; err != nil || !slices.Equal(kinds(list), want) {
		t.Errorf("a stranger sees %v, %v; want %v", kinds(list), err, want)
	}
	if _, err := admin.RevokeToken(ctx, made.Token.ID); err != nil {
		t.Fatal(err)
	}
	list, err = admin.System().Facts(ctx, []string{assay.FactTokenRevoked}, "", 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d facts, %v", len(list), err)
	}
	_, err = stranger.System().Publication(ctx, list[0].ID)
	wantCode(t, "publication of another namespace's token", err, assay.CodeNotFound)
	_, err = stranger.System().Proof(ctx, list[0].ID)
	wantCode(t, "proof of another namespace's token", err, assay.CodeNotFound)
}

// What a caller may not see does not count against the limit.
func TestFactsOfTheInstallationAreListedPastThoseOfOthers(t *testing.T) {
	in := controltest.Idle(t)
	ctx := t.Context()
	create := func(namespace string) {
		t.Helper()
		_, err := in.As("root", namespace, api.RoleAdmin).CreateToken(ctx, api.TokenRequest{
			Name: "ci", Roles: []api.Role{api.RoleViewer}, Expires: in.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	create("team-a")
	create("team-a")
	for range store.DefaultLimit + 5 {
		create("team-b")
	}
	for limit, want := range map[int]int{1: 1, 2: 2, 3: 2, 0: 2} {
		list, err := in.As("root", "team-a", api.RoleAdmin).System().Facts(ctx, nil, "", limit)
		if err != nil || len(list) != want {
			t.Errorf("limit %d: %d facts, %v; want %d", limit, len(list), err, want)
		}
	}
	_, err := in.As("root", "team-a", api.RoleAdmin).System().Facts(ctx, nil, "", -1)
	wantCode(t, "a negative limit", err, assay.CodeInvalid)
	_, err = in.As("root", "team-a", api.RoleAdmin).System().Facts(ctx, nil, "zzz", 1)
	wantCode(t, "subject", err, assay.CodeInvalid)
}
