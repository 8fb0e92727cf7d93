package attest

import (
	"assay.dev/assay"
	"assay.dev/assay/internal/strict"
)

// ExceptionStatement makes the unsigned statement of an approved exception, or of
// one that has some of the approvals it needs and excuses nothing yet. Its subject is the exception itself, by the digest that verdicts name it with.
func ExceptionStatement(e assay.Exception) ([]byte, error) {
	endorsed := e.State == assay.ExceptionRequested && len(e.Approvals) > 0
	if !endorsed && (e.State != assay.ExceptionApproved || e.Approver == "") || e.NotAfter.IsZero() {
		return nil, fieldError("state", "is "+quote(string(e.State))+"; only an approved exception with an end is attested")
	}
	e.Statement = "" // what is signed cannot name its own signature
	d := e.Digest()
	if d == "" {
		return nil, fieldError("not_after", "has a time that JSON cannot hold")
	}
	return marshalStatement([]Descriptor{{Name: "urn:uuid:" + e.ID, Digest: digestSet(d)}}, assay.ExceptionPredicateType, e)
}

// ParseException reads the statement that ExceptionStatement makes, strictly,
// and checks that it is about the exception it holds.
func ParseException(statement []byte) (assay.Exception, error) {
	st, err := ParseStatement(statement)
	if err != nil {
		return assay.Exception{}, err
	}
	if st.PredicateType != assay.ExceptionPredicateType {
		return assay.Exception{}, fieldError("predicateType", "is "+quote(st.PredicateType)+"; expected "+assay.ExceptionPredicateType)
	}
	var e assay.Exception
	if err := strict.JSON(st.Predicate, &e); err != nil {
		return assay.Exception{}, err
	}
	if e.Statement != "" {
		return assay.Exception{}, fieldError("predicate.statement", "is set; a statement cannot name itself")
	}
	if d := e.Digest(); len(st.Subject) != 1 || !st.Subject[0].Has(string(d)) {
		return assay.Exception{}, assay.Errorf(assay.CodeUnverified, "the statement's subject is not the exception in its predicate (%s)", d)
	}
	return e, nil
}
