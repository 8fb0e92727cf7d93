package proxy

import (
	"cmp"
	"log/slog"
	"net/netip"
	"time"

	"assay.dev/assay"
	"assay.dev/assay/attest"
	"assay.dev/assay/enforce"
)

// Options are what the operator of one proxy decides, away from the control API.
type Options struct {
	Dir     string             // holds the last good state; one process per folder
	Initial enforce.Config     // what to enforce while Dir holds no state
	Trust   attest.TrustPolicy // whose attestations let a version in; Proxy.Believe replaces it
	Verify  enforce.Verify     // nil is attest.Verify

	// AllowDryRun accepts routes that only record what they would refuse.
	AllowDryRun bool
	// Token opens the control API; at least MinToken characters.
	Token string
	// TrustedProxies may say whom they speak for: their X-Forwarded headers are
	// kept. Everyone else's are removed.
	TrustedProxies []netip.Prefix

	Limits Limits
	Export Export
	Log    *slog.Logger     // nil is silent
	Now    func() time.Time // nil is time.Now
}

// MinToken is the length of a control token, in characters.
const MinToken = 16

// Limits bound what one client or backend can take. Zero fields get the default.
type Limits struct {
	HeaderBytes     int           // of a request's head; 64 KiB
	Headers         int           // fields of a request; 100
	HeaderTime      time.Duration // from the first byte of a request to the end of its head; 5 s
	BodyTime        time.Duration // for the rest of a request; 30 s
	IdleTime        time.Duration // between two requests of a connection; 60 s
	WriteTime       time.Duration // for a client to take its response, beyond the route's timeout; 30 s
	Connections     int           // open at one time; 4096
	ResponseHeaders int64         // bytes of a response's head; 64 KiB
	BackendIdle     int           // idle connections kept to one backend; 128
	DialTime        time.Duration // to connect to a backend; 2 s
	DialFailures    int           // in a row that open a backend's circuit; 5
	CircuitTime     time.Duration // that a circuit stays open; 1 s
	Drain           time.Duration // for requests under way when the proxy stops; 10 s
	Copies          int           // of mirrored requests under way at one time; 64
}

func (l Limits) orDefault() Limits {
	l.HeaderBytes = cmp.Or(l.HeaderBytes, 64<<10)
	l.Headers = cmp.Or(l.Headers, 100)
	l.HeaderTime = cmp.Or(l.HeaderTime, 5*time.Second)
	l.BodyTime = cmp.Or(l.BodyTime, 30*time.Second)
	l.IdleTime = cmp.Or(l.IdleTime, 60*time.Second)
	l.WriteTime = cmp.Or(l.WriteTime, 30*time.Second)
	l.Connections = cmp.Or(l.Connections, 4096)
	l.ResponseHeaders = cmp.Or(l.ResponseHeaders, 64<<10)
	l.BackendIdle = cmp.Or(l.BackendIdle, 128)
	l.DialTime = cmp.Or(l.DialTime, 2*time.Second)
	l.DialFailures = cmp.Or(l.DialFailures, 5)
	l.CircuitTime = cmp.Or(l.CircuitTime, time.Second)
	l.Drain = cmp.Or(l.Drain, 10*time.Second)
	l.Copies = cmp.Or(l.Copies, 64)
	return l
}

// Export says where metrics are pushed as OTLP over HTTP. Without a URL they are
// not pushed.
type Export struct {
	URL         string            // for example "http://127.0.0.1:7070/v1/metrics"
	Token       string            // sent as a bearer token if set
	Interval    time.Duration     // between two batches; 5 s
	Timeout     time.Duration     // of one attempt; 5 s
	Queue       int               // batches kept while the collector is away; 16
	Instance    string            // service.instance.id; a fresh one by default
	Environment string            // deployment.environment.name, "" if unset
	Attributes  map[string]string // further resource attributes
}

func (e Export) orDefault() Export {
	e.Interval = cmp.Or(e.Interval, 5*time.Second)
	e.Timeout = cmp.Or(e.Timeout, 5*time.Second)
	e.Queue = cmp.Or(e.Queue, 16)
	return e
}

func (o Options) check() error {
	switch {
	case o.Dir == "":
		return assay.Errorf(assay.CodeInvalid, "the proxy has no folder for its state")
	case len(o.Token) < MinToken:
		return assay.Errorf(assay.CodeInvalid, "the control token has %d characters; expected at least %d", len(o.Token), MinToken)
	}
	return nil
}
