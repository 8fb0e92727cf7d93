package gameday

import (
	"math/rand/v2"
	"time"

	"assay.dev/assay/peer"
)

// Peer is what another controller's rule would have done to the same version. It
// is simulated: nothing of that controller runs here.
type Peer struct {
	Name      string  `json:"name"`
	Rule      string  `json:"rule"`
	Simulated bool    `json:"simulated"` // always true
	Version   string  `json:"version"`
	Action    string  `json:"action"` // abort, pause or continue
	Seconds   float64 `json:"seconds"`
	Requests  uint64  `json:"requests"` // of the new version until then
	Harmed    uint64  `json:"harmed"`   // of them, failed
}

// argoRule describes peer.ArgoSuccessRate.
const argoRule = "success rate of the last minute ≥ 99 %, every minute ten times, three failures tolerated"

// SimulateArgo runs the documented success-rate analysis of Argo Rollouts over a
// version that gets rps requests per second, of which the share fails is bad.
// Requests and faults are drawn from seed, second by second.
func SimulateArgo(version string, rps, fails float64, seed uint64) Peer {
	out := Peer{Name: "argo-rollouts", Rule: argoRule, Simulated: true, Version: version}
	draw := rand.New(rand.NewPCG(seed, 0xa460))
	metric := peer.ArgoSuccessRate()
	var result peer.ArgoResult
	var total, bad []uint64 // by second
	owed := 0.0             // requests that are not whole yet
	for next := metric.Wait(result); !result.Done(); next += metric.Wait(result) {
		for len(total) < int(next/time.Second) {
			owed += rps
			n := uint64(owed)
			owed -= float64(n)
			k := uint64(0)
			for range n {
				if draw.Float64() < fails {
					k++
				}
			}
			total, bad = append(total, n), append(bad, k)
		}
		result = metric.Next(result, lastMinute(total, bad))
	}
	out.Action = peer.ArgoAction(peer.ArgoRun([]peer.ArgoResult{result}))
	out.Seconds = float64(len(total))
	for i := range total {
		out.Requests += total[i]
		out.Harmed += bad[i]
	}
	return out
}

// lastMinute is what a query for the success rate over the last minute answers.
func lastMinute(total, bad []uint64) peer.ArgoSample {
	var n, k uint64
	for i := max(0, len(total)-60); i < len(total); i++ {
		n += total[i]
		k += bad[i]
	}
	if n == 0 {
		return peer.ArgoSample{} // a division of two empty vectors
	}
	return peer.ArgoSample{Values: []float64{1 - float64(k)/float64(n)}}
}
