package simulate

import (
	"errors"
	"io/fs"
	"path"
	"strconv"

	"assay.dev/assay"
	"assay.dev/assay/internal/simtest"
	"assay.dev/assay/internal/strict"
	"assay.dev/assay/policy"
)

// files are what a scenario names.
type files struct {
	strategies map[string][]policy.Strategy
	rollouts   map[string][]policy.Rollout
}

// Load reads a scenario and every file that it names from a file system.
func Load(fsys fs.FS, name string) (*Prepared, error) {
	data, err := readFile(fsys, name, MaxBytes)
	if err != nil {
		return nil, err
	}
	s, err := Parse(name, data)
	if err != nil {
		return nil, err
	}
	p := &Prepared{scenario: s, files: files{strategies: map[string][]policy.Strategy{}, rollouts: map[string][]policy.Rollout{}}}
	for i, t := range s.Spec.Traces {
		if err := s.trace(fsys, t); err != nil {
			return nil, s.because(name, err, "spec", "traces", strconv.Itoa(i), "file")
		}
	}
	for i, c := range s.controllers() {
		field := []string{"spec", "controller"}
		if i > 0 {
			field = []string{"spec", "against", strconv.Itoa(i - 1)}
		}
		if err := p.load(fsys, c); err != nil {
			return nil, s.because(name, err, field...)
		}
	}
	return p, nil
}

// because puts an error without a place at a field of the scenario.
func (s *Scenario) because(name string, err error, field ...string) error {
	if e, ok := errors.AsType[*assay.Error](err); ok && e.File != "" {
		return err
	}
	return in(name, s.doc.Errorf(field, "%v", err))
}

// load reads the policy files of a controller.
func (p *Prepared) load(fsys fs.FS, c *Controller) error {
	read := func(file string) (policy.Resources, error) {
		name := path.Join(p.scenario.dir, file)
		data, err := readFile(fsys, name, policy.MaxFileBytes)
		if err != nil {
			return policy.Resources{}, err
		}
		return policy.Parse(name, data)
	}
	for _, file := range c.Strategies {
		res, err := read(file)
		if err != nil {
			return err
		}
		if len(res.Strategies) == 0 {
			return assay.Errorf(assay.CodeInvalid, "%s has no Strategy", file)
		}
		for _, st := range res.Strategies {
			if !p.scenario.has(st.Spec.Service) {
				return assay.Errorf(assay.CodeInvalid, "%s moves service %q, which is not in the world", file, clip(st.Spec.Service))
			}
		}
		p.files.strategies[file] = res.Strategies
	}
	for _, use := range c.Rollouts {
		res, err := read(use.File)
		if err != nil {
			return err
		}
		if len(res.Rollouts) != 1 {
			return assay.Errorf(assay.CodeInvalid, "%s has %d Rollouts, want 1", use.File, len(res.Rollouts))
		}
		if err := p.scenario.fits(res.Rollouts[0], use); err != nil {
			return err
		}
		p.files.rollouts[use.File] = res.Rollouts
	}
	return nil
}

// fits says whether the world has what a rollout needs.
func (s *Scenario) fits(r policy.Rollout, use RolloutUse) error {
	for _, o := range s.Spec.World.Services {
		if o.Name != r.Spec.Service {
			continue
		}
		seen := 0
		for _, v := range o.Versions {
			if v.Name == use.Canary && v.Share == 0 || v.Name == use.Control && v.Share == 100 {
				seen++
			}
		}
		if seen == 2 {
			return watches(r, use, o)
		}
		return assay.Errorf(assay.CodeInvalid, "%s: service %s needs version %q with a share of 100 and %q with 0", use.File, o.Name, clip(use.Control), clip(use.Canary))
	}
	return assay.Errorf(assay.CodeInvalid, "%s is for service %q, which is not in the world", use.File, clip(r.Spec.Service))
}

// trace reads the traffic of a file into the world.
func (s *Scenario) trace(fsys fs.FS, t Trace) error {
	data, err := readFile(fsys, path.Join(s.dir, t.File), MaxTraceBytes)
	if err != nil {
		return err
	}
	values, err := ParseTrace(data)
	if err != nil {
		return err
	}
	if t.From >= len(values)-1 {
		return assay.Errorf(assay.CodeInvalid, "%s has %d rows, and the run begins with row %d", t.File, len(values), t.From)
	}
	values = values[t.From:]
	if t.Rows > 0 && t.Rows < len(values) {
		values = values[:t.Rows]
	}
	for i := range s.Spec.World.Services {
		if o := &s.Spec.World.Services[i]; o.Name == t.Service {
			o.Traffic.Trace, o.Traffic.TraceStep = coarse(values, t.Step, s.Spec.World.Tick)
		}
	}
	return nil
}

func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, assay.Errorf(assay.CodeInvalid, "%w", err)
	}
	defer f.Close()
	return strict.Bounded(f, limit, name)
}

// world is the scenario's world for a seed.
func (s *Scenario) world(seed uint64) simtest.Config {
	c := s.Spec.World
	c.Seed = seed
	return c
}
