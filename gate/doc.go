// Package gate judges one artifact: evidence, policies and exceptions in, an
// explained verdict out.
//
// The mental model: Check is a pure function of Inputs. It reads no clock, no
// file and no network, so a verdict can be replayed from its inputs and comes
// out byte for byte the same, whatever the order in which evidence and
// exceptions are given. Policies are evaluated through Engine, which must be a
// function of its arguments too.
//
// How an outcome comes about:
//
//   - Every requirement of the gate accepts the reports that have its kind and
//     meet its conditions (format, tool, origin, age, artifact). None accepted, a
//     report of its kind that could not be read, or too little in what was
//     accepted (minTests, minComponents): the requirement is absent.
//   - Thresholds of requirements, and denials of policies whose mode is enforce,
//     are violations. Denials of policies in warn or dry-run are listed and never
//     decide. Flaky tests are counted apart: they neither reach minTests nor
//     exceed maxFailed.
//   - Exceptions excuse what they cover: a violation by its rule, an absence by
//     the rule "absent/<requirement>". What is excused stays in the verdict, marked.
//     An absence because of a report that could not be read is not excused: so
//     with such a report the outcome is never pass.
//   - A violation that blocks and is not excused makes the outcome fail; otherwise
//     an absence that is not excused makes it absent; otherwise it is pass. Fail
//     wins over absent, because it is known to be wrong whatever is missing.
//
// The document that Rego sees as `input` is policy.Input:
//
//	subject      {name, digest, uri?, commit?}
//	environment? text
//	time         RFC 3339, UTC: the only clock
//	gate         {name, namespace, mode}
//	evidence[]   {kind, format, tool {name, version?}, origin, digest, subject?, age_seconds,
//	             requirements?[], tests? {passed, failed, skipped, flaky},
//	             components?[] {name, version?, purl?, licenses?[]},
//	             findings?[] {rule, aliases?[], severity, message, location? {file?, line?, column?},
//	               package? {name, version?, purl?, licenses?[]}, fixed_in?[], fingerprint, suppressed?, known?}}
//
// Fields marked ? are left out where they are empty. The list holds every report
// that was presented, also those that no requirement accepted: requirements
// names the ones that did.
package gate
