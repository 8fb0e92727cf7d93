package diverge

import (
	"time"

	"assay.dev/assay"
)

// Compared is an SLO of a service whose regions are compared.
type Compared struct {
	Service string     `json:"service"`
	SLO     string     `json:"slo"`
	Label   string     `json:"label"`             // that tells regions apart
	Bound   float64    `json:"bound"`             // as a share
	Error   float64    `json:"error"`             // a day
	Until   time.Time  `json:"until"`             // the minutes before are judged
	Trouble string     `json:"trouble,omitempty"` // why nothing is judged, "" if it is
	Regions []Standing `json:"regions"`
}

// Standing is where one region stands.
type Standing struct {
	Region string `json:"region"`
	Judgement
}

// Service returns what is compared of a service, or of all with "". CodeNotFound if
// nothing is of the service that was named.
func (w *Watcher) Service(name string) ([]Compared, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []Compared{}
	for _, c := range w.list {
		if name != "" && c.service != name {
			continue
		}
		one := Compared{
			Service: c.service, SLO: c.slo, Label: c.regions.Label, Bound: c.regions.Bound, Error: c.regions.Error,
			Until: time.Unix(c.next*60, 0).UTC(), Regions: []Standing{},
		}
		if c.failed != nil {
			one.Trouble = c.failed.Error()
		}
		for _, r := range c.s.Regions {
			if j, ok := c.now[r.Name]; ok {
				one.Regions = append(one.Regions, Standing{r.Name, j})
			}
		}
		switch {
		case one.Trouble != "":
		case c.now == nil:
			one.Trouble = "no minute has been judged since the server started"
		case len(one.Regions) == 0:
			one.Trouble = "no series of the indicator has the label " + c.regions.Label
		}
		out = append(out, one)
	}
	if name != "" && len(out) == 0 {
		e := assay.Errorf(assay.CodeNotFound, "the regions of service %q are not compared", name)
		e.Hint = "give its SLO the annotation assay.dev/regions with the label of its series that names the region"
		return nil, e
	}
	return out, nil
}
