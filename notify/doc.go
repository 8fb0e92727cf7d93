// Package notify tells people outside of Assay what they have to act on.
//
// Whoever knows says which alerts stand now; a Keeper compares that with what it has
// told, and tells the difference: an alert that is new, one that is over, and once an
// hour what still stands, since who is told may forget. What was told is written down
// after it was taken, so nothing is lost by a fault on either side; it may be told
// twice, and an alert has the same labels each time, by which the other side knows it.
package notify
