//go:build linux

package memorytest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// confined is the program in a process of its own that may use little memory.
type confined struct {
	memory     int64 // In bytes.
	url, token string
	pid        int
	ended      chan struct{}
	client     *http.Client
	endStreams func() // Lets the upstream end its streams.
}

// startConfined builds and starts the program, since a program with the race detector takes several times as much.
func startConfined(t *testing.T, memory int64) *confined {
	t.Helper()
	over := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := make([]byte, 512)
		n, _ := io.ReadAtLeast(r.Body, head, len(head))
		_, _ = io.Copy(io.Discard, r.Body)
		if bytes.Contains(head[:n], []byte(`"stream":true`)) {
			streamSlowly(w, r, over)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"type":"message","role":"assistant","content":[],"model":"m","stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`)
	}))
	t.Cleanup(upstream.Close)
	endStreams := sync.OnceFunc(func() { close(over) })
	t.Cleanup(endStreams)
	dir := t.TempDir()
	program, data, config := filepath.Join(dir, "aibridged"), filepath.Join(dir, "data"), filepath.Join(dir, "config.yaml")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/coder/aibridged/cmd/aibridged").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, "providers: [{name: anthropic, type: anthropic, base_url: %q, keys: [\"${KEY}\"]}]\n", upstream.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	token, err := exec.CommandContext(t.Context(), program, "token", "create", "--user", "test", "--data-dir", data).Output()
	if err != nil {
		t.Fatal(err)
	}
	name, args := program, []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", data, "--config", config}
	var limit string
	if group := memoryGroup(t, memory); group != "" {
		name, args = "/bin/sh", append([]string{"-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(group, "cgroup.procs"), program}, args...)
		limit = "GOMEMLIMIT=" // As unset.
	} else {
		t.Log("no control group can be made here: the resident memory is watched")
		limit = "GOMEMLIMIT=" + strconv.FormatInt(memory/4*3-min(memory/8, 32<<20), 10) // As serve sets it.
		args = append(args, "--memory", strconv.FormatInt(memory/4, 10))
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "KEY=a-key", limit)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g := &confined{memory: memory, endStreams: endStreams, token: strings.TrimSpace(string(token)), pid: cmd.Process.Pid, ended: make(chan struct{}), client: &http.Client{Transport: &http.Transport{}}}
	head := make([]byte, 4096)
	n, _ := out.Read(head)
	address := regexp.MustCompile(`listens on (\S+)`).FindSubmatch(head[:n])
	go func() {
		defer close(g.ended)
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		log.Close()
	}()
	t.Cleanup(func() {
		g.client.CloseIdleConnections()
		_ = cmd.Process.Kill()
		<-g.ended
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the end of its log:\n%s", text[max(0, len(text)-2000):])
		}
	})
	if address == nil {
		t.Fatalf("it does not listen: %q", head[:n])
	}
	g.url = string(address[1]) + "/anthropic/v1/messages"
	return g
}

// streamSlowly sends an event each second until over.
func streamSlowly(w http.ResponseWriter, r *http.Request, over <-chan struct{}) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
			_, _ = io.WriteString(w, "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word \"}}\n\n")
		case <-over:
			_, _ = io.WriteString(w, "data: {\"type\":\"message_stop\"}\n\n")
			return
		case <-r.Context().Done():
			return
		}
	}
}

// memoryGroup makes a control group with that much memory, and returns its directory, or "" if that cannot be done here.
func memoryGroup(t *testing.T, memory int64) string {
	name := fmt.Sprintf("aibridged-test-%d-%d", os.Getpid(), memory>>20)
	for _, at := range []struct{ parent, limit string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"},
	} {
		group := filepath.Join(at.parent, name)
		if os.Mkdir(group, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(group) })
		if os.WriteFile(filepath.Join(group, at.limit), strconv.AppendInt(nil, memory, 10), 0o600) == nil {
			return group
		}
	}
	return ""
}

// peak returns the most memory that has been resident, in bytes.
func (g *confined) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.pid))
	if err != nil {
		t.Fatalf("the gateway has ended: %v", err)
	}
	match := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
	if match == nil {
		t.Fatal("the gateway has ended")
	}
	kilobytes, _ := strconv.ParseInt(string(match[1]), 10, 64)
	// Files that are mapped, the program itself among them, do not count: the system can read them again.
	if file := regexp.MustCompile(`RssFile:\s*(\d+) kB`).FindSubmatch(status); file != nil {
		mapped, _ := strconv.ParseInt(string(file[1]), 10, 64)
		kilobytes -= mapped
	}
	return kilobytes << 10
}
