//go:build !race

package posix_test

const slower = 1
