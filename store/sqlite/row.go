package sqlite

import (
	"encoding/hex"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
	"github.com/google/uuid"
)

// factColumns are the columns of factRow, in order.
const factColumns = "pos, namespace, id, kind, version, time, recorded, service, environment, subject," +
	" trace_id, deployment_id, policy_revision, actor, causes, retention, payload"

// factRow is a fact as the table holds it.
type factRow struct {
	pos, time, recorded                    int64
	fact                                   assay.Fact
	id, subject, revision, causes, payload []byte
}

func (r *factRow) fields() []any {
	f := &r.fact
	return []any{&r.pos, &f.Namespace, &r.id, &f.Kind, &f.Version, &r.time, &r.recorded, &f.Service, &f.Environment,
		&r.subject, &f.TraceID, &f.DeploymentID, &r.revision, &f.Actor, &r.causes, (*string)(&f.Retention), &r.payload}
}

func (r *factRow) row() (store.Row, error) {
	f := r.fact
	ids, err := parseIDs(r.id)
	if err != nil || len(ids) != 1 {
		return store.Row{}, assay.Errorf(assay.CodeInternal, "row %d of facts has a damaged id", r.pos)
	}
	f.ID = ids[0]
	if f.Causes, err = parseIDs(r.causes); err != nil {
		return store.Row{}, assay.Errorf(assay.CodeInternal, "fact %s has damaged causes", f.ID)
	}
	f.Time, f.Recorded = time.Unix(0, r.time).UTC(), time.Unix(0, r.recorded).UTC()
	f.Subject, f.PolicyRevision = parseDigest(r.subject), parseDigest(r.revision)
	f.Payload = r.payload
	return store.Row{Fact: f, Commit: r.pos}, nil
}

// idBytes returns the 16 bytes of an id that was checked before; of another
// text, bytes that match nothing.
func idBytes(id assay.FactID) []byte {
	u, err := uuid.Parse(string(id))
	if err != nil {
		return []byte{}
	}
	return u[:]
}

func idsBytes(ids []assay.FactID) []byte {
	out := make([]byte, 0, 16*len(ids))
	for _, id := range ids {
		out = append(out, idBytes(id)...)
	}
	return out
}

func parseIDs(b []byte) ([]assay.FactID, error) {
	if len(b)%16 != 0 {
		return nil, fmt.Errorf("%d bytes are no whole number of ids", len(b))
	}
	var ids []assay.FactID
	for ; len(b) > 0; b = b[16:] {
		ids = append(ids, assay.FactID(uuid.UUID(b[:16]).String()))
	}
	return ids, nil
}

// digestBytes returns the 32 bytes of a digest that was checked before, NULL for none.
func digestBytes(d assay.Digest) any {
	if d == "" {
		return nil
	}
	b, err := hex.DecodeString(d.Hex())
	if err != nil {
		return nil
	}
	return b
}

func parseDigest(b []byte) assay.Digest {
	if len(b) != 32 {
		return ""
	}
	return assay.DigestOf([32]byte(b))
}
