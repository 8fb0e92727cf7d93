//go:build race

package posix_test

// slower is how many times slower the crash tests run: they are sparser by as much,
// except for kills at syncs.
const slower = 4
