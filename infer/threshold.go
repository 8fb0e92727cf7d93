package infer

import "math"

// overshoots is what Overshoot interpolates: 2 to 4 % above the most that bench/detect
// measures with the sizes of HarmSizes, because blocks that are looked at while they
// grow give some of it back. The bench prints the measure again and fails when an
// entry is too small.
var overshoots = []struct{ share, factor float64 }{
	{0.01, 0.65}, {0.05, 0.66}, {0.10, 0.67}, {0.25, 0.73}, {0.50, 0.83},
}

// Overshoot is how much smaller the probability of a false alarm is than Ville's
// bound, because evidence jumps over its threshold instead of touching it: an upper
// estimate of the mean of e^(threshold − ln E) where the mixture of HarmSizes stops.
// It depends on how far one event moves the evidence, and so on the share of the
// exposure that is treated, and hardly on what is compared. Calibrated: measured with
// looks a few events apart, for rates from 0.05 to 50 % and thresholds from 1/20 to
// 1/2000; with looks further apart it is smaller. Outside 1 to 50 % it is 1.
func Overshoot(share float64) float64 {
	last := len(overshoots) - 1
	if !(share >= overshoots[0].share && share <= overshoots[last].share) {
		return 1
	}
	i := 1
	for overshoots[i].share < share {
		i++
	}
	a, b := overshoots[i-1], overshoots[i]
	at := math.Log(share/a.share) / math.Log(b.share/a.share)
	return a.factor + at*(b.factor-a.factor)
}
