// Package admit is the cluster's door: it says whether the images of a Kubernetes
// object, or of a deployment anywhere else, may run.
//
// A door is a policy resource (policy.Admission). For each image it asks which
// attestations the local index knows of the digest, verifies them against the
// trust of whoever runs the door, and holds them against the door's requirements.
// Decide does that as a pure function of what was gathered, so a decision can be
// made again from its inputs. A Door gathers, decides and records; Handler answers
// the reviews of a Kubernetes API server with it.
//
// Nothing on the way to an answer uses a network: the index is memory, bundles are
// local files, verified signatures are remembered. A digest that nobody has heard
// of waits up to MaxWait for the index to learn it, because a push and its
// deployment often overtake the attestation.
//
// A denial is recorded as a fact before it is answered, and so is what only an
// exception let in. Plain admissions are counted together and recorded every few
// seconds. A review that is a dry run leaves no trace.
package admit
