// Package infer holds the statistics of the loop: sequential tests that may be
// looked at after every observation, the bounds they cannot beat, and how
// several of them are combined. It knows counts and probabilities, not what they
// are counts of; it reads no clock, does no I/O and draws no random numbers.
//
// # Mental model
//
// Two arms are watched side by side. A Comparison is the fixed description of a
// test; its State is a value that grows with every Pair of counts. Both kinds of
// comparison condition on how many events both arms had together, which removes
// the unknown common rate, and leave one parameter: how many times the treated
// arm's rate (or odds) is the control's. In ln ratio u both are exponential
// families, so a State is the treated events X and the log normaliser L(u) at a
// few fixed ratios, and every answer is made of X·u − L(u):
//
//	harm       mixture over ratios above Harm.Null against ratio ≤ Harm.Null
//	safety     mixture over ratios below Safe.Null against ratio ≥ Safe.Null
//	posterior  the mixture's components, normalised
//	interval   every ratio that a two-sided mixture does not reject
//
// # Honest labels
//
// Each answer carries an assay.Certainty. Exact means that the probability of
// ever crossing 1/α is at most α by Ville's inequality under the assumptions in
// the basis, whatever the stopping rule. Calibrated means that it was measured.
// docs/design/decisions.md has the derivations.
package infer
