package main

import (
	"os"
	"path/filepath"
	"testing"

	"assay.dev/assay/decide"
)

func TestKillSwitchesAreReadWidestFirstAndOneThatCannotBeReadIsPulled(t *testing.T) {
	dir := t.TempDir()
	a := &app{cfg: config{"dir": {text: dir}}}
	if got := a.halted("default", "shop"); got != nil {
		t.Fatalf("nothing is pulled: %+v", got)
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(a.haltPath("default", "shop"), "one service\n")
	write(a.haltPath("bank", ""), "a namespace")
	if got := a.halted("default", "shop"); len(got) != 1 || got[0] != (decide.Halt{Scope: decide.HaltService, Name: "shop", Reason: "one service"}) {
		t.Errorf("%+v", got)
	}
	if got := a.halted("default", "mail"); got != nil {
		t.Errorf("another service is held: %+v", got)
	}
	if got := a.halted("bank", "anything"); len(got) != 1 || got[0].Scope != decide.HaltNamespace {
		t.Errorf("%+v", got)
	}
	if err := os.Mkdir(a.haltPath("", ""), 0o700); err != nil { // a folder is no file that can be read
		t.Fatal(err)
	}
	if got := a.halted("default", "shop"); len(got) != 2 || got[0].Scope != decide.HaltGlobal {
		t.Errorf("%+v", got)
	}
}
