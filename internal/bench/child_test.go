package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestChildThatFails checks that the error holds what the process wrote to its standard error.
func TestChildThatFails(t *testing.T) {
	spec := childSpec{name: "failing", program: "/bin/sh", args: []string{"-c", "echo out of luck >&2; exit 3"}, stderr: filepath.Join(t.TempDir(), "log"), serves: `^http://(\S+)`}
	if _, _, err := spec.start(t.Context()); err == nil || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("%v", err)
	}
}

// TestServerWithoutItsLog has a server that served more requests than its log has lines.
func TestServerWithoutItsLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	spec := childSpec{name: "quiet", program: "/bin/sh", args: []string{"-c", "trap 'exit 0' TERM; echo one line >&2; echo http://nowhere; while :; do sleep 0.01; done"}, stderr: log, serves: `^http://(\S+)`}
	for requests, want := range map[int64]string{1: "", 2: errLog.Error()} {
		child, address, err := spec.start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if address != "nowhere" {
			t.Errorf("address %q", address)
		}
		s := &server{name: "quiet", child: child, log: log}
		s.answered.Store(requests)
		if err := s.stop(); (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d requests: %v", requests, err)
		}
	}
}

// TestFigures checks that CPU time and memory include those of child processes.
func TestFigures(t *testing.T) {
	if checkSystem() != nil {
		t.Skip(checkSystem())
	}
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; {
		child, err := cpuOf(cmd.Process.Pid)
		if err != nil || time.Since(began) > 20*time.Second {
			t.Fatalf("a loop used %v, %v", child, err)
		}
		if child >= 50*time.Millisecond {
			break
		}
	}
	if after, err := cpuOf(os.Getpid()); err != nil || after-before < 50*time.Millisecond {
		t.Errorf("%v of this process with its child, %v", after-before, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	memory, err := memoryOf(os.Getpid())
	if err != nil || memory < 1<<20 {
		t.Errorf("%d bytes, %v", memory, err)
	}
}
