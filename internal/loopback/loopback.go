// Package loopback tells this machine from others, so that a secret is not sent over a
// network in the clear.
package loopback

import "net/netip"

// Is reports whether a host, a name or an address without a port, is this machine whatever
// a name server says: localhost or a loopback address. 127.example.org is anybody's name.
func Is(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
