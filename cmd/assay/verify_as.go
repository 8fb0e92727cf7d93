package main

import (
	"fmt"
	"slices"
	"strings"

	"assay.dev/assay"
	"assay.dev/assay/api"
	"assay.dev/assay/evidence"
)

// readAs says of reports what they cannot say of themselves. A report that is
// named with several kinds is read once as each.
func (f *gateFlags) readAs(reports []api.Report) ([]api.Report, error) {
	for _, pair := range f.mappings {
		file, mapping, err := cutPair("--mapping", pair, reports)
		if err != nil {
			return nil, err
		}
		text, err := readFile(mapping, evidence.MaxMappingBytes)
		if err != nil {
			return nil, err
		}
		if _, err := readMapping(mapping); err != nil {
			return nil, err
		}
		for i := range reports {
			if reports[i].Source == file {
				reports[i].Mapping = string(text)
			}
		}
	}
	plain := slices.Clone(reports)
	used := map[string]bool{}
	for _, pair := range f.as {
		file, what, err := cutPair("--as", pair, reports)
		if err != nil {
			return nil, err
		}
		if slices.Contains(evidence.Formats(), what) {
			for i := range plain {
				if plain[i].Source == file {
					plain[i].Format = what
				}
			}
			for i := range reports {
				if reports[i].Source == file {
					reports[i].Format = what
				}
			}
			continue
		}
		kind, err := kindOf(what)
		if err != nil {
			return nil, usageError{fmt.Errorf("--as %q: %w", pair, err)}
		}
		for i, r := range plain {
			switch {
			case r.Source != file:
			case !used[file]:
				reports[i].Kind = kind
			default:
				r.Kind = kind
				reports = append(reports, r)
			}
		}
		used[file] = true
	}
	return reports, nil
}

// cutPair splits FILE=WHAT at its last "=", and checks that FILE is among the reports.
func cutPair(flag, pair string, reports []api.Report) (file, what string, err error) {
	i := strings.LastIndexByte(pair, '=')
	if i <= 0 || i == len(pair)-1 {
		return "", "", usageError{fmt.Errorf("%s %q is no pair; write FILE=%s", flag, pair, strings.ToUpper(strings.TrimPrefix(flag, "--")))}
	}
	file, what = pair[:i], pair[i+1:]
	if !slices.ContainsFunc(reports, func(r api.Report) bool { return r.Source == file }) {
		return "", "", usageError{fmt.Errorf("%s %q: %s is not given as a report", flag, pair, file)}
	}
	return file, what, nil
}

// kindOf reads a kind of evidence, or says which there are.
func kindOf(word string) (assay.EvidenceKind, error) {
	if slices.Contains(assay.EvidenceKinds, assay.EvidenceKind(word)) {
		return assay.EvidenceKind(word), nil
	}
	names := make([]string, len(assay.EvidenceKinds))
	for i, k := range assay.EvidenceKinds {
		names[i] = string(k)
	}
	return "", fmt.Errorf("%q is neither a format nor a kind of evidence; kinds: %s; formats: %s",
		word, strings.Join(names, ", "), strings.Join(evidence.Formats(), ", "))
}
