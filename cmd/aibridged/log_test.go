package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/fakellm"
)

// fullPipe returns the two ends of a full pipe.
func fullPipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = reader.Close(), writer.Close() }) // A test may have closed them already.
	if err := writer.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = writer.Write(make([]byte, 4096))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return reader, writer
}

// programHere returns a command, not yet started, that runs the program with these arguments and this standard error; nil
// means none.
func programHere(t testing.TB, stderr *os.File, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	// With the race detector, the process would otherwise sleep for a second at its end.
	cmd.Env = append(os.Environ(), programVariable+"=1", "GORACE=atexit_sleep_ms=0")
	if stderr != nil {
		cmd.Stderr = stderr
	}
	return cmd
}

// TestFault116Serve runs the program with a log that nobody reads, because the pipe is full or its reader has gone. The
// program serves requests, has the metric, and ends in time after the first signal.
func TestFault116Serve(t *testing.T) {
	llm := httptest.NewServer(fakellm.New(fakellm.Options{}))
	defer llm.Close()
	for name, hasGone := range map[string]bool{"full": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			reader, writer := fullPipe(t)
			if hasGone {
				_ = reader.Close()
			}
			data := t.TempDir()
			config := filepath.Join(data, "config.yaml")
			t.Setenv("TEST_KEY", "a-key-of-no-account")
			text := "providers: [{name: anthropic, type: anthropic, base_url: '" + llm.URL + "', keys: ['${TEST_KEY}']}]"
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			token, _, err := run(t.Context(), "token", "create", "--user", "ada", "--data-dir", data)
			if err != nil {
				t.Fatal(err)
			}
			cmd := programHere(t, writer, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", data, "--config", config)
			s := startProcess(t, cmd)
			for range 50 {
				const body = `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}`
				if status, answer := s.ask(t, "/anthropic/v1/messages", strings.TrimSpace(token), body); status != 200 {
					t.Fatalf("%d %s", status, answer)
				}
			}
			if metrics := s.metrics(t); !strings.Contains(metrics, "\naibridged_log_lines_dropped_total ") {
				t.Errorf("no metric of dropped lines:\n%s", metrics)
			}
			began := time.Now()
			s.end(t, syscall.SIGTERM)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("serve ended after %v", took)
			}
		})
	}
}

func (s *served) metrics(t *testing.T) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFault116Failure runs a command that fails and cannot print its error: it ends nevertheless.
func TestFault116Failure(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, writer := fullPipe(t)
	cmd := programHere(t, writer, "serve", "--admin-listen", "off", "--listen", busy.Addr().String(), "--data-dir", t.TempDir())
	began := time.Now()
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("ended after %v", took)
	}
}

// TestFailureIsSaid runs a command that fails: the last line of its standard error says why.
func TestFailureIsSaid(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := programHere(t, file, "serve", "--log-format", "xml")
	if err := cmd.Run(); err == nil {
		t.Error("no error")
	}
	text, err := os.ReadFile(file.Name())
	if err != nil || string(text) != "aibridged: --log-format \"xml\": use text or json\n" {
		t.Errorf("%q, %v", text, err)
	}
}
