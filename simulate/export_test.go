package simulate

import "context"

// Alone plays the controller under test alone, with a number of seeds, and returns the
// service-hours of virtual time.
func (p *Prepared) Alone(ctx context.Context, seeds int) (hours float64, err error) {
	spec := p.scenario.Spec
	err = parallel(ctx, seeds, func(ctx context.Context, job int) error {
		_, err := p.play(ctx, &p.scenario.Spec.Controller, uint64(1+job), nil)
		return err
	})
	return (spec.Duration.D() + spec.WarmUp.D()).Hours() * float64(len(spec.World.Services)*seeds), err
}
