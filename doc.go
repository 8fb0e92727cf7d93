// Package assay holds the nouns that every stage of the loop shares: what is
// judged (Subject), what is known about it (Evidence, Finding), what was
// concluded (Verdict, Exception) and the record of it all (Fact).
//
// The package contains values only. It reads no clock, no file and no network,
// and imports nothing outside the standard library, so that every stage may
// depend on it and it depends on none.
package assay
