package control_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/control"
	"assay.dev/assay/control/controltest"
	"assay.dev/assay/store/files"
)

// fleeting removes what was put before anybody can note it.
type fleeting struct{ *files.Blobs }

func (b fleeting) Put(ctx context.Context, r io.Reader, limit int64) (assay.Digest, error) {
	d, err := b.Blobs.Put(ctx, r, limit)
	if err == nil {
		err = b.Remove(ctx, d)
	}
	return d, err
}

func TestAnUploadThatRetentionOvertookIsToBeRepeated(t *testing.T) {
	in := controltest.New(t)
	cfg := in.Config
	cfg.Blobs = fleeting{cfg.Blobs.(*files.Blobs)}
	s := control.New(cfg).As(control.Caller{Name: "ci", Namespace: "default", Roles: []api.Role{api.RoleDeveloper}})
	_, err := s.PutEvidence(t.Context(), strings.NewReader("{}"))
	if assay.CodeOf(err) != assay.CodeUnavailable || !strings.Contains(err.Error(), "upload it once more") {
		t.Errorf("%v; want unavailable: nobody may be told that it is there", err)
	}
}
