package ui

import (
	"context"
	"fmt"
	"slices"
	"time"

	"assay.dev/assay/api"
	"assay.dev/assay/report"
)

const (
	// rateFresh is how long a pass rate, or a report of operations, is shown: it is made of
	// all facts of its window.
	rateFresh  = time.Minute
	rateWindow = 30 * 24 * time.Hour
	// rateDays is how many days with a check the page lists of each environment.
	rateDays = 10
)

// rateRow is one environment, or all together.
type rateRow struct {
	report.Rate
	Name string
	Word state
	Days []dayRow // with something, the newest first
}

// dayRow is one day of an environment.
type dayRow struct {
	report.Rate
	From time.Time
	Word state
}

// rateDetail is what the part about checks shows.
type rateDetail struct {
	Target string
	Days   int
	Total  rateRow
	Rows   table[rateRow]
}

// verification counts the checks of the newest days.
func (v *view) verification() (report.Verification, error) {
	return shared(v, v.ui.verified, func(ctx context.Context) (report.Verification, error) {
		now := v.ui.cfg.Now()
		return v.s.Verification(ctx, api.VerificationRequest{From: now.Add(-rateWindow), Period: "day"})
	})
}

func newRateDetail(v report.Verification, err error) rateDetail {
	d := rateDetail{Target: fmt.Sprintf("%.6g %%", 100*v.Target), Days: int(rateWindow / (24 * time.Hour)), Total: newRateRow("all", v.Total, nil)}
	var rows []rateRow
	for _, e := range v.Environments {
		rows = append(rows, newRateRow(e.Title(), e.Rate, e.Periods))
	}
	d.Rows = newTable(rows, err)
	return d
}

func newRateRow(name string, r report.Rate, periods []report.PeriodRate) rateRow {
	row := rateRow{Rate: r, Name: name, Word: standingState(r.Standing)}
	for _, p := range slices.Backward(periods) {
		if p.Checks+p.Flaky > 0 && len(row.Days) < rateDays {
			row.Days = append(row.Days, dayRow{Rate: p.Rate, From: p.From, Word: standingState(p.Standing)})
		}
	}
	return row
}

// standingState says in a word whether a target holds; of nothing nobody knows.
func standingState(s report.Standing) state {
	switch s {
	case report.RateHolds:
		return state{"ok", "target holds"}
	case report.RateMissed:
		return state{"warn", "target missed"}
	case report.NothingHappened:
		return state{"unknown", "nothing measured"}
	}
	return state{"unknown", "nothing checked"}
}
