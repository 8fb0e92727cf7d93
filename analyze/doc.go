// Package analyze runs the statistics of the engine on a user's own data: a series or
// the counts of a canary in a CSV file. What it reports is what the engine would have
// known: alarms look at the past only, and a forecast is checked on the file's own
// last part before it says anything about the future.
//
// Read functions refuse what they do not understand with file, line and column; the
// others are pure.
package analyze
