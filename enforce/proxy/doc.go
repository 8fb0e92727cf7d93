// Package proxy is the request's door as a process: a reverse proxy that sends
// each request to the version that package enforce chooses, and refuses what no
// valid attestation lets in.
//
// A request passes four stations. The guard reads the raw connection and hands on
// only requests whose framing is beyond doubt, so that no backend can read them
// otherwise. The table (an enforce.Snapshot with the doors to its backends,
// behind one atomic pointer) answers which version is meant. The door forwards,
// once and never twice, within its limits. The exchange counts what came of it.
// A new table takes effect with the next request; those under way end on theirs.
//
// Beside the data listener stands a control API on a listener of its own. What it
// accepts is on disk before it is active, so the proxy starts and goes on without
// a control plane. Metrics are pulled as Prometheus text and pushed as OTLP.
//
// Its requests are HTTP/1.0 and HTTP/1.1 in clear text; encryption belongs to
// whatever stands before it.
package proxy
