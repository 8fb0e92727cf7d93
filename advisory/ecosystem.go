package advisory

import (
	"regexp"
	"strings"

	"assay.dev/assay"
	"github.com/package-url/packageurl-go"
)

// Ecosystem is where a package comes from, by OSV's name without a release.
type Ecosystem string

// ParseEcosystem splits OSV's "Debian:12" into the ecosystem and its release.
func ParseEcosystem(s string) (Ecosystem, string) {
	name, release, _ := strings.Cut(s, ":")
	e := Ecosystem(name)
	if name == "Ubuntu" { // "Ubuntu:22.04:LTS", "Ubuntu:Pro:18.04:LTS"
		release = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(release, "Pro:"), "FIPS:"), ":LTS")
	}
	if name == "Maven" { // the release is a repository's address
		release = ""
	}
	return e, release
}

var pypiRuns = regexp.MustCompile(`[-_.]+`)

// normal is the spelling of a package's name under which both sides are compared. The
// purl of a Go module is in lower case, its name in the database is not.
func (e Ecosystem) normal(name string) string {
	switch e {
	case "PyPI":
		return pypiRuns.ReplaceAllString(strings.ToLower(name), "-")
	case "Go", "Packagist", "NuGet", "Hex", "Pub", "GitHub Actions", "SwiftURL":
		return strings.ToLower(name)
	}
	return name
}

// Package is one component as OSV speaks of it.
type Package struct {
	Ecosystem Ecosystem
	Release   string // of the distribution, "" if the component does not say it
	Name      string
	Version   string
}

// ecosystemOf is OSV's name for the types of purl that stand for exactly one.
var ecosystemOf = map[string]Ecosystem{
	packageurl.TypeGolang: "Go", packageurl.TypeNPM: "npm", packageurl.TypePyPi: "PyPI", packageurl.TypeMaven: "Maven",
	packageurl.TypeCargo: "crates.io", packageurl.TypeGem: "RubyGems", packageurl.TypeNuget: "NuGet",
	packageurl.TypeComposer: "Packagist", packageurl.TypePub: "Pub", packageurl.TypeHex: "Hex", packageurl.TypeHackage: "Hackage",
	packageurl.TypeCran: "CRAN", packageurl.TypeSwift: "SwiftURL", packageurl.TypeBitnami: "Bitnami", packageurl.TypeConan: "ConanCenter",
	"githubactions": "GitHub Actions",
}

// distributions are OSV's names for the namespaces of deb, apk and rpm packages.
var distributions = map[string]Ecosystem{
	"deb/debian": "Debian", "deb/ubuntu": "Ubuntu", "apk/alpine": "Alpine", "apk/wolfi": "Wolfi", "apk/chainguard": "Chainguard",
	"rpm/rocky": "Rocky Linux", "rpm/rocky-linux": "Rocky Linux", "rpm/rockylinux": "Rocky Linux", "rpm/almalinux": "AlmaLinux",
	"rpm/alma": "AlmaLinux", "rpm/redhat": "Red Hat", "rpm/opensuse": "openSUSE", "rpm/suse": "SUSE", "rpm/sles": "SUSE",
	"rpm/mageia": "Mageia", "rpm/openeuler": "openEuler",
}

// ParsePackage reads a component's purl. A component without a purl, or of a kind
// that OSV has no ecosystem for, is assay.CodeInvalid with the reason.
func ParsePackage(c assay.Component) (Package, error) {
	if c.PURL == "" {
		return Package{}, assay.Errorf(assay.CodeInvalid, "has no purl")
	}
	if len(c.PURL) > 4*MaxText {
		return Package{}, assay.Errorf(assay.CodeTooLarge, "has a purl of %d bytes", len(c.PURL))
	}
	u, err := packageurl.FromString(c.PURL)
	if err != nil {
		return Package{}, assay.Errorf(assay.CodeInvalid, "has a purl that cannot be read")
	}
	version := u.Version
	if version == "" {
		version = c.Version
	}
	if version == "" {
		return Package{}, assay.Errorf(assay.CodeInvalid, "has no version")
	}
	if len(version) > MaxText {
		return Package{}, assay.Errorf(assay.CodeTooLarge, "has a version of %d bytes", len(version))
	}
	if e, known := ecosystemOf[u.Type]; known {
		return Package{Ecosystem: e, Name: e.normal(nameIn(u)), Version: version}, nil
	}
	e, known := distributions[u.Type+"/"+strings.ToLower(u.Namespace)]
	if !known {
		return Package{}, assay.Errorf(assay.CodeInvalid, "is of the ecosystem %s, which no OSV database has", strings.TrimSuffix(u.Type+"/"+u.Namespace, "/"))
	}
	p := Package{Ecosystem: e, Name: u.Name, Version: version}
	p.ofDistribution(u.Qualifiers.Map(), u.Type == packageurl.TypeRPM)
	return p, nil
}

// nameIn spells a purl's name as OSV does.
func nameIn(u packageurl.PackageURL) string {
	switch {
	case u.Namespace == "":
		return u.Name
	case u.Type == packageurl.TypeMaven:
		return u.Namespace + ":" + u.Name
	}
	return u.Namespace + "/" + u.Name
}

// ofDistribution takes from the qualifiers what OSV's records about distributions
// speak of: the source package, the release and the epoch.
func (p *Package) ofDistribution(q map[string]string, rpm bool) {
	if up := q["upstream"]; up != "" && !rpm { // advisories of Debian and Alpine name source packages
		name, version, has := strings.Cut(up, "@")
		p.Name = name
		if has && version != "" {
			p.Version = version
		}
	}
	if epoch := q["epoch"]; epoch != "" && epoch != "0" && !strings.Contains(p.Version, ":") {
		p.Version = epoch + ":" + p.Version
	}
	distro := q["distro"] // "debian-12", "alpine-3.19.1", "3.19.1", "rocky-9.3"
	if i := strings.LastIndexByte(distro, '-'); i >= 0 {
		distro = distro[i+1:]
	}
	parts := strings.Split(distro, ".")
	switch {
	case distro == "" || distro[0] < '0' || distro[0] > '9':
		return // a code name or nothing: every release is looked at
	case p.Ecosystem == "Alpine" && len(parts) >= 2:
		p.Release = "v" + parts[0] + "." + parts[1]
	case p.Ecosystem == "Ubuntu" && len(parts) >= 2:
		p.Release = parts[0] + "." + parts[1]
	case p.Ecosystem == "Debian" || p.Ecosystem == "Rocky Linux" || p.Ecosystem == "AlmaLinux":
		p.Release = parts[0]
	}
}
