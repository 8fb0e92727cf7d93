package heap

import (
	"math"
	"os"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func TestAServersHeapStaysBelowWhatItMayUse(t *testing.T) {
	const meminfo = "MemFree:        2000 kB\nMemTotal:        8000000 kB\nBuffers: 1 kB\n"
	const machine = 8000000 << 10 / 100 * share
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"in a container", map[string]string{"sys/fs/cgroup/memory.max": "536870912\n", "proc/meminfo": meminfo}, 536870912 / 100 * share},
		{"as a service", map[string]string{
			"proc/self/cgroup": "1:name=systemd:/x\n0::/system.slice/assay.service\n", "sys/fs/cgroup/system.slice/assay.service/memory.max": "2000000000\n",
			"sys/fs/cgroup/system.slice/memory.max": "1000000000\n", "proc/meminfo": meminfo,
		}, 1000000000 / 100 * share},
		{"in a container that sees its host's path", map[string]string{
			"proc/self/cgroup": "0::/../docker/77\n", "sys/fs/cgroup/memory.max": "536870912\n", "proc/meminfo": meminfo,
		}, 536870912 / 100 * share},
		{"in a group without a limit", map[string]string{"sys/fs/cgroup/memory.max": "max\n", "proc/meminfo": meminfo}, machine},
		{"without groups", map[string]string{"proc/meminfo": meminfo}, machine},
		{"where nothing is known", nil, math.MaxInt64},
		{"where nothing can be read", map[string]string{"sys/fs/cgroup/memory.max": "-1", "proc/meminfo": "MemTotal: many kB\n"}, math.MaxInt64},
	} {
		root := fstest.MapFS{}
		for path, text := range c.files {
			root[path] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := limit(root); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
}

func TestWhatTheEnvironmentSaysStaysInForce(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	for _, c := range []struct {
		gogc, limit string
		percent     int
		bytes       int64
	}{
		{"100", "1GiB", 100, math.MaxInt64},
		{"", "", growth, limit(os.DirFS("/"))},
	} {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
		t.Setenv("GOGC", c.gogc)
		t.Setenv("GOMEMLIMIT", c.limit)
		Serve()
		percent, bytes := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
		if percent != c.percent || bytes != c.bytes {
			t.Errorf("with GOGC=%q and GOMEMLIMIT=%q: %d%%, %d bytes; want %d%%, %d", c.gogc, c.limit, percent, bytes, c.percent, c.bytes)
		}
	}
}
