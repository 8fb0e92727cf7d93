package simtest

// Truth is what really happened to a service in a region in one tick, or what a
// database cost.
type Truth struct {
	Service  string
	Region   string
	Flows    []FlowTruth
	Replicas int // running and starting
	Ready    int
	Cost     float64
}

// FlowTruth counts one flow. Arrived requests are fresh ones, calls of other
// services, and those that come again; all are answered well or badly, dropped,
// moved to the cheaper class, or added to those Waiting at the end of the tick.
type FlowTruth struct {
	Class    string
	Tenant   string
	Critical bool
	Hostile  bool
	Weight   float64
	Arrived  int
	Good     int
	Bad      int // failed, too slow, or given up by the client
	Dropped  int
	Cheap    int // answered well by the cheaper class
	Waiting  int
	Cost     float64 // of the requests, without replicas
}

// Harm is the weighted number of legitimate requests that did not get a good answer.
func (f FlowTruth) Harm() float64 {
	if f.Hostile {
		return 0
	}
	return f.Weight * float64(f.Bad+f.Dropped)
}
