package testenv

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Cosign returns the path of the real cosign.
func Cosign(t testing.TB) string {
	t.Helper()
	return Program(t, "cosign", "github.com/sigstore/cosign/v3/cmd/cosign")
}

// dockerRegistry is Debian's package; its registry has no referrers API.
const dockerRegistry = "docker-registry"

var installRegistry = sync.OnceValue(func() error { return aptInstall(dockerRegistry) })

// DockerRegistry starts Debian's docker-registry 2.8, which keeps its images in
// a folder of the test, and returns its address, "127.0.0.1:PORT". It ends with
// the test. Where root runs the tests of CI it is installed if need be. With the files
// of a certificate and its key it speaks HTTPS.
func DockerRegistry(t testing.TB, tls ...string) string {
	t.Helper()
	if _, err := exec.LookPath(dockerRegistry); err != nil {
		if os.Geteuid() != 0 || os.Getenv("ASSAY_REQUIRE_ALL") != "1" && os.Getenv("CI") == "" {
			missing(t, "docker-registry is not installed; get it with: apt-get install docker-registry")
		}
		if err := installRegistry(); err != nil {
			missing(t, "docker-registry cannot be installed: %v", err)
		}
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	secure := ""
	if len(tls) == 2 {
		secure = fmt.Sprintf(", tls: {certificate: %s, key: %s}", tls[0], tls[1])
	}
	text := fmt.Sprintf("version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: '127.0.0.1:0'%s}\n", filepath.Join(dir, "data"), secure)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dockerRegistry, "serve", config)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	var said bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if !strings.Contains(lines.Text(), "response completed") { // every request; of no use here
				fmt.Fprintln(&said, lines.Text())
			}
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it keeps nothing that a test looks at later
		<-read
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("docker-registry said:\n%s", &said)
		}
	})
	select {
	case a := <-address:
		return a
	case <-read:
		t.Fatalf("docker-registry ended:\n%s", &said)
	case <-time.After(30 * time.Second):
		t.Fatal("docker-registry did not listen within 30 s")
	}
	return ""
}

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

func aptInstall(name string) error {
	script := "apt-get update -qq && apt-get install -qq -y --no-install-recommends " + name
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get install %s: %w\n%s", name, err, out)
	}
	return nil
}
