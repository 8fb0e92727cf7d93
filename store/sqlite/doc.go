// Package sqlite is the store in one SQLite file: the default home of facts and state.
//
// One goroutine owns the only writing connection. Callers hand it closures; it
// runs as many as wait, each under a savepoint, and commits them together, so
// that one fsync pays for all of them (group commit). Nobody is answered before
// the commit is on disk: write-ahead log with synchronous=FULL. Readers have
// connections of their own and see a snapshot.
//
// After an error of the engine or the disk the writer trusts nothing: it throws
// its connection away, and acknowledges again only after a new connection moved
// the whole log into the database file and the disk confirmed it.
//
// Open takes no lock beyond SQLite's own. A program that keeps more than this
// file in a folder takes durable.LockDir on it first.
package sqlite
