package control

import (
	"errors"

	"assay.dev/assay"
)

// Where the names of things are found, for whoever named one that there is not.
const (
	listFacts      = "list them with: assay ledger facts"
	listDecisions  = "list them with: assay decisions tail -o json"
	listExceptions = "list them with: assay exception list"
	listTokens     = "list them with: assay token list"
)

// hinted says what to do about a name that is unknown or no name at all; what is wrong
// otherwise says it itself.
func hinted(err error, hint string) error {
	e, ok := errors.AsType[*assay.Error](err)
	if !ok || e.Hint != "" || e.Code != assay.CodeNotFound && !(e.Code == assay.CodeInvalid && e.Field == "id") {
		return err
	}
	c := *e
	c.Hint = hint
	return &c
}
