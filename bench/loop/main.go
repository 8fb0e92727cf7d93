// Command loop measures the run-time loop: what the proxy adds to a request, how
// long it takes from the arrival of data to a moved share, alone and with a thousand
// services, how soon the demo shows its page, and what an idle control plane holds in
// memory.
//
// It prints a table, keeps the rows in out/loop.json and exits with 1 if a target
// does not hold. Run it with `make bench-loop`, which builds the program first, on a
// machine that does nothing else.
package main

import "assay.dev/assay/bench/run"

func main() {
	run.Main("loop", 3,
		run.Part{Name: "proxy", Run: measureProxy},
		run.Part{Name: "react", Run: measureReact},
		run.Part{Name: "fleet", Run: measureFleet},
		run.Part{Name: "demo", Run: measureDemo},
	)
}
