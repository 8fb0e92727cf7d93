// Package report puts evidence in the order in which an auditor asks for it.
//
// A Framework is data: controls, each with queries for facts that evidence it, or
// with the reason why Assay cannot. Build answers the queries for a period and has
// every line proved by the ledger. A report shows three things and never mixes
// them up: what is evidenced, what should be and is not (a gap), and what Assay
// does not cover. It takes no side: whether a control is met is the auditor's to say.
//
// Verify checks a report with public keys and nothing else.
//
// Rates and Operate add up facts: how many checks passed, and what rollouts and
// strategies did and whether it helped. What was not measured holds no target.
package report
