package crashfs_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"assay.dev/assay/internal/crashfs"
	"assay.dev/assay/internal/durable"
	"assay.dev/assay/internal/testenv"
)

// childEnv tells the test binary to be the recorded program: its value is the
// folder to work in.
const childEnv = "ASSAY_CRASHFS_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const generations = 4

// child replaces a file a few times and says so.
func child(dir string) error {
	sub := filepath.Join(dir, "a", "b")
	if err := durable.MkdirAll(sub, 0o700); err != nil {
		return err
	}
	for g := range generations {
		if err := durable.WriteFile(filepath.Join(sub, "f"), content(g), 0o600); err != nil {
			return err
		}
		fmt.Println(g)
	}
	return nil
}

func content(g int) []byte { return bytes.Repeat([]byte{byte('a' + g)}, 10000) }

// TestDurableFilesSurviveACrashAtEveryCall records a program that uses package
// durable and lets the power fail before and after each of its calls.
func TestDurableFilesSurviveACrashAtEveryCall(t *testing.T) {
	log, root := record(t)
	if lost := crashAtEveryCall(t, log, root, false); lost != "" {
		t.Error(lost)
	}
	if lost := crashAtEveryCall(t, log, root, true); lost == "" {
		t.Error("without syncs nothing was lost: this test cannot fail")
	}
}

func record(t *testing.T) (crashfs.Log, string) {
	t.Helper()
	strace := testenv.Tool(t, "strace", "apt-get install strace")
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(strace, append(crashfs.Flags(out), os.Args[0], "-test.run=^$")...)
	cmd.Env = append(os.Environ(), childEnv+"="+root)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log, err := crashfs.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	return log, root
}

// crashAtEveryCall returns what was lost or torn, "" if nothing was.
func crashAtEveryCall(t *testing.T, log crashfs.Log, root string, ignoreSync bool) string {
	t.Helper()
	disk := crashfs.NewDisk(root)
	disk.IgnoreSync = ignoreSync
	said := -1
	for i, e := range log {
		if text, ok := e.Output(1); ok {
			if _, err := fmt.Sscan(string(text), &said); err != nil {
				t.Fatal(err)
			}
		}
		if err := disk.Apply(e); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "crash")
		if err := disk.Save(dir, nil); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "a", "b", "f"))
		if err != nil && said < 0 {
			continue // nothing was promised yet
		}
		ok := said >= 0 && bytes.Equal(got, content(said))
		next := bytes.Equal(got, content(said+1))
		if !ok && !next {
			return fmt.Sprintf("event %d (%s): generation %d was promised, on disk are %d bytes %.10q, %v", i, e.Call.Name, said, len(got), got, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if said != generations-1 && !ignoreSync {
		return fmt.Sprintf("the recorded program said %d, not %d", said, generations-1)
	}
	return ""
}

func TestFlagsNameTheLogAndEndBeforeTheCommand(t *testing.T) {
	flags := crashfs.Flags("/x/log")
	if text := strings.Join(flags, " "); !strings.Contains(text, "-o /x/log --") || flags[len(flags)-1] != "--" {
		t.Errorf("flags %v", flags)
	}
}
