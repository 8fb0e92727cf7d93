package advisory

import (
	"cmp"
	"strings"

	depsdev "deps.dev/util/semver"
	apk "github.com/knqyf263/go-apk-version"
	deb "github.com/knqyf263/go-deb-version"
	rpm "github.com/knqyf263/go-rpm-version"
	"golang.org/x/mod/semver"
)

// order compares versions of one ecosystem.
type order interface {
	// valid reports whether v can be placed among other versions.
	valid(v string) bool
	// compare returns -1, 0 or 1; both versions are valid.
	compare(a, b string) int
}

// orders say how ecosystems order versions. One that is not here is not known: of
// its advisories only the listed versions are compared, and that is said.
var orders = map[Ecosystem]order{
	"Go": goOrder{}, "npm": system(depsdev.NPM), "PyPI": system(depsdev.PyPI), "Maven": system(depsdev.Maven),
	"crates.io": system(depsdev.Cargo), "RubyGems": system(depsdev.RubyGems), "NuGet": system(depsdev.NuGet),
	"Packagist": composer{}, "Pub": system(depsdev.NPM), "Hex": system(depsdev.NPM),
	"SwiftURL": system(depsdev.DefaultSystem), "GitHub Actions": system(depsdev.DefaultSystem), "Hackage": system(depsdev.RubyGems),
	"CRAN": system(depsdev.RubyGems), "Bitnami": system(depsdev.DefaultSystem), "ConanCenter": system(depsdev.DefaultSystem),
	"Debian": debOrder{}, "Ubuntu": debOrder{}, "Alpine": apkOrder{}, "Wolfi": apkOrder{}, "Chainguard": apkOrder{},
	"Rocky Linux": rpmOrder{}, "AlmaLinux": rpmOrder{}, "Red Hat": rpmOrder{}, "openSUSE": rpmOrder{}, "SUSE": rpmOrder{},
	"Mageia": rpmOrder{}, "openEuler": rpmOrder{},
}

// goOrder is that of Go modules and of the toolchain ("stdlib").
type goOrder struct{}

func goVersion(v string) string { return "v" + strings.TrimPrefix(strings.TrimPrefix(v, "go"), "v") }

func (goOrder) valid(v string) bool     { return semver.IsValid(goVersion(v)) }
func (goOrder) compare(a, b string) int { return semver.Compare(goVersion(a), goVersion(b)) }

// system is one of the package managers that deps.dev knows.
type system depsdev.System

func (s system) valid(v string) bool {
	_, err := depsdev.System(s).Parse(v)
	return err == nil
}
func (s system) compare(a, b string) int { return depsdev.System(s).Compare(a, b) }

// composer ignores the case of "RC", which deps.dev does not.
type composer struct{}

func (composer) valid(v string) bool { return system(depsdev.Composer).valid(strings.ToLower(v)) }
func (composer) compare(a, b string) int {
	return depsdev.Composer.Compare(strings.ToLower(a), strings.ToLower(b))
}

type debOrder struct{}

func (debOrder) valid(v string) bool { return deb.Valid(v) }
func (debOrder) compare(a, b string) int {
	x, _ := deb.NewVersion(a) // valid
	y, _ := deb.NewVersion(b) // valid
	return cmp.Compare(x.Compare(y), 0)
}

type apkOrder struct{}

func (apkOrder) valid(v string) bool { return apk.Valid(v) }
func (apkOrder) compare(a, b string) int {
	x, _ := apk.NewVersion(a) // valid
	y, _ := apk.NewVersion(b) // valid
	return x.Compare(y)
}

type rpmOrder struct{}

func (rpmOrder) valid(v string) bool     { return v != "" } // rpm orders any text
func (rpmOrder) compare(a, b string) int { return rpm.NewVersion(a).Compare(rpm.NewVersion(b)) }
