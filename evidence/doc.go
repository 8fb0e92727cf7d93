// Package evidence reads the reports of tools into assay.Evidence.
//
// Read recognises a report by its first bytes, never by its name, and walks it
// once as a stream of tokens. A report says what it says or is refused: bad
// JSON, a duplicate key, a cut-off file or a value of the wrong type is an
// *assay.Error with line, column and field, and no evidence at all. What a
// report holds beyond what is read here is skipped, because tools add keys
// freely; what could change its meaning is put into Notes. A report that could
// not be complete (a test that never ended, an analysis that says it failed)
// is read, and carries a finding that says so: it never looks like a clean one.
//
// Text from reports is made harmless before anybody sees it: control and
// text-direction characters are replaced, white space is one blank, and long
// texts are clipped. Everything is bounded; above a limit Read returns
// assay.CodeTooLarge and names the limit.
//
// The package is pure: it reads what it is handed and no clock.
package evidence
