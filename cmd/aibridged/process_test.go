package main

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// running is the program in a process of its own.
type running struct {
	served

	cmd *exec.Cmd
}

// startProcess starts serve, prepared by a test, and waits until it has printed where it listens.
func startProcess(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r, address := &running{cmd: cmd}, regexp.MustCompile(`http://\S+`)
	for lines := bufio.NewReader(stdout); ; {
		line, err := lines.ReadString('\n')
		switch {
		case err != nil:
			t.Fatal(err)
		case strings.Contains(line, "listens on"):
			r.base = address.FindString(line)
		case strings.Contains(line, "for operators"):
			r.admin = address.FindString(line)
		case strings.Contains(line, "data directory"): // It comes after both.
			return r
		}
	}
}

// end sends a signal and checks that the process ends in good order.
func (r *running) end(t *testing.T, with os.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(with); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("after %v: %v", with, err)
	}
}

// TestFault116FullOutput is fault 116 for standard output: a gateway whose greeting nobody reads serves all the same, and
// ends in time.
func TestFault116FullOutput(t *testing.T) {
	_, writer := fullPipe(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := programHere(t, nil, "serve", "--listen", address, "--admin-listen", "off", "--data-dir", t.TempDir())
	cmd.Stdout = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	await(t, func() string {
		response, err := client.Get("http://" + address + "/readyz")
		if err != nil {
			return err.Error()
		}
		_ = response.Body.Close()
		return unless(response.StatusCode == 200, response.Status)
	})
	began := time.Now()
	(&running{cmd: cmd}).end(t, syscall.SIGTERM)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it ended after %v", took)
	}
}

// TestFault116FullDevice is fault 116 with a log on a device without space: what it refuses is counted, though it would
// all fit into the buffer.
func TestFault116FullDevice(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no device here is always full")
	}
	defer full.Close()
	r := startProcess(t, programHere(t, full, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", t.TempDir()))
	if response, _ := send(t, http.MethodPost, r.base+"/anthropic/v1/messages", "", nil); response.StatusCode != 400 { // Writes a line.
		t.Errorf("%d", response.StatusCode)
	}
	await(t, func() string {
		return unless(!strings.Contains(r.metrics(t), "\naibridged_log_lines_dropped_total 0\n"), "a line is counted")
	})
	r.end(t, syscall.SIGTERM)
}
