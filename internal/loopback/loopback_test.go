package loopback

import "testing"

func TestOnlyThisMachineIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.9.1": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "127.example.org": false, "localhost.example.org": false, "10.0.0.1": false, "::": false, "0.0.0.0": false, "127.0.0.1:80": false, "[::1]": false,
	} {
		if got := Is(host); got != want {
			t.Errorf("%q: %t, want %t", host, got, want)
		}
	}
}
