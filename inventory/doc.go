// Package inventory is what runs where: which artifact serves which service, in
// which environment, and who saw it last.
//
// Sources report what they see, again and again: agents through the API, an
// enforcer through its status; a registry or a cluster is another Source. A
// sighting holds for a while (TTL) and then expires: what nobody sees any more does
// not run, as far as anybody knows. History keeps changes only: something appeared,
// something is gone. What runs under a mere tag, or was never judged, is listed like
// everything else, because that is what the list is for.
//
// Discover holds what runs against newly published advisories and opens findings.
package inventory
