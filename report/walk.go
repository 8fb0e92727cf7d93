package report

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/store"
)

const (
	// walkPage is how many facts are read at once: each may have store.MaxPayload bytes.
	walkPage = 100
	// walkSlack is how far the store's clock may have gone back: a fact is recorded after
	// the instant it is about, but clocks are set.
	walkSlack = 24 * time.Hour
)

// span are the facts of a namespace in a time, of one environment and service if those are
// named.
type span struct {
	namespace, environment, service string
	from                            time.Time // inclusive
	to                              time.Time // exclusive
}

// walk reads the facts of a kind, the newest first, a few in each snapshot: what is
// appended meanwhile is not seen, and what is old is not read. More than MaxFacts is
// assay.CodeTooLarge.
func (p span) walk(ctx context.Context, s store.Store, kind string, take func(assay.Fact) error) error {
	before, seen := int64(0), 0
	for {
		var rows []store.Row
		err := s.View(ctx, func(r store.Reader) (err error) {
			rows, err = r.Facts(store.Query{
				Namespace: p.namespace, Kinds: []string{kind}, Until: p.to, Newest: true, After: before, Limit: walkPage,
			})
			return err
		})
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, row := range rows {
			before = row.Commit
			if row.Fact.Recorded.Before(p.from.Add(-walkSlack)) {
				return nil
			}
			if !p.has(row.Fact) {
				continue
			}
			if seen++; seen > MaxFacts {
				return &assay.Error{Code: assay.CodeTooLarge, Msg: fmt.Sprintf("more than %d facts %s are of that time", MaxFacts, kind), Hint: "ask for a shorter time"}
			}
			if err := take(row.Fact); err != nil {
				return err
			}
		}
	}
}

func (p span) has(f assay.Fact) bool {
	return !f.Time.Before(p.from) && (p.environment == "" || f.Environment == p.environment) && (p.service == "" || f.Service == p.service)
}

func decode(f assay.Fact, into any) error {
	if err := json.Unmarshal(f.Payload, into); err != nil {
		return assay.Errorf(assay.CodeInternal, "fact %s cannot be read: %w", f.ID, err)
	}
	return nil
}
