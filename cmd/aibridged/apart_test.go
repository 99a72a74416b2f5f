package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fixedAnswer is what cannedUpstream answers.
const fixedAnswer = `{"id":"msg_1","type":"message","role":"assistant","model":"m", "content":[{"type":"text","text":"Hi \u00e9"}],"stop_reason":"end_turn",` +
	`"usage":{"input_tokens":7,"output_tokens":5}}` + "\n"

// cannedUpstream answers in the form of the Messages API, always with the same bytes, and remembers what it was asked. A
// request whose body holds "wait" is answered once release is closed.
type cannedUpstream struct {
	*httptest.Server

	arrived chan struct{} // Gets a value when a request waits.
	release chan struct{}

	mu     sync.Mutex
	bodies []string // Guarded by mu, like keys.
	keys   []string
}

func newCannedUpstream(t *testing.T) *cannedUpstream {
	t.Helper()
	u := &cannedUpstream{arrived: make(chan struct{}, 1), release: make(chan struct{})}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		u.mu.Lock()
		u.bodies, u.keys = append(u.bodies, string(body)), append(u.keys, r.Header.Get("X-Api-Key"))
		u.mu.Unlock()
		if bytes.Contains(body, []byte("wait")) {
			u.arrived <- struct{}{}
			<-u.release
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, fixedAnswer)
	}))
	t.Cleanup(u.Close)
	return u
}

// latest returns the body and the key of the latest request.
func (u *cannedUpstream) latest() (body, key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := len(u.bodies) - 1
	return u.bodies[n], u.keys[n]
}

// freeAddress returns an address on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// configFile writes a configuration and returns its path.
func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// apart is a control plane and a gateway in processes of their own, or as commands of this one.
type apart struct {
	served // The gateway: data is the control plane's directory, though.

	control      string // Where the control plane listens.
	controlAdmin string
	gatewayData  string
	joinToken    string
}

// printedBy starts a process and returns the first group of a match in what it prints. It reads on afterwards.
func printedBy(t testing.TB, cmd *exec.Cmd, pattern string) []string {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	var printed strings.Builder
	for lines := bufio.NewReader(stdout); ; {
		line, err := lines.ReadString('\n')
		printed.WriteString(line)
		if match := regexp.MustCompile(pattern).FindStringSubmatch(printed.String()); match != nil {
			return match
		}
		if err != nil {
			t.Fatalf("%v printed %s: %v", cmd.Args, printed.String(), err)
		}
	}
}

const (
	controlPrints = `(?s)listens on (\S+) for gateways.*for operators +(http://\S+).*data directory`
	gatewayPrints = `(?s)listens on (http://\S+).*for operators +(http://\S+).*data directory`
)

func (a *apart) controlArgs(config string) []string {
	return []string{
		"control", "--listen", a.control, "--admin-listen", "127.0.0.1:0", "--console-listen", "127.0.0.1:0", "--data-dir", a.data, "--config", config,
	}
}

func (a *apart) gatewayArgs(more ...string) []string {
	return append([]string{"gateway", "--control", a.control, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", a.gatewayData}, more...)
}

// newApart returns places for a control plane and a gateway, of which none runs, and a join token.
func newApart(t *testing.T) *apart {
	t.Helper()
	a := &apart{served: served{data: t.TempDir()}, control: freeAddress(t), gatewayData: t.TempDir()}
	a.joinToken = strings.TrimSpace(a.must(t, "", "control", "join-token", "--name", "test"))
	t.Setenv(joinTokenVariable, a.joinToken)
	t.Setenv("TEST_KEY", "sk-key-of-the-control-plane")
	return a
}

// startControl runs the control plane as a command of this process, until stop or the end of the test.
func (a *apart) startControl(t *testing.T, config string, more ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	control := lineOf(t, ctx, controlPrints, append(a.controlArgs(config), more...)...)
	a.controlAdmin = control.groups[2]
	return a.stopping(t, "control", cancel, control.ended)
}

// startGateway does the same with the gateway.
func (a *apart) startGateway(t *testing.T, more ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	gateway := lineOf(t, ctx, gatewayPrints, a.gatewayArgs(more...)...)
	a.base, a.admin = gateway.groups[1], gateway.groups[2]
	return a.stopping(t, "gateway", cancel, gateway.ended)
}

func (a *apart) stopping(t *testing.T, name string, cancel func(), ended <-chan error) (stop func()) {
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// providerText is a configuration with one provider.
func providerText(name, upstream string) string {
	return fmt.Sprintf("providers:\n- {name: %s, type: anthropic, base_url: '%s', keys: ['${TEST_KEY}']}\n", name, upstream)
}

// status returns the status of a request for a provider.
func (a *apart) status(t *testing.T, provider, token string) int {
	t.Helper()
	status, _ := a.ask(t, "/"+provider+"/v1/messages", token, helloBody)
	return status
}

// takes returns how long it takes until a request for a provider has a status.
func (a *apart) takes(t *testing.T, provider, token string, want int) time.Duration {
	t.Helper()
	began := time.Now()
	for got := 0; got != want; {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s: status %d, want %d", provider, got, want)
		}
		got = a.status(t, provider, token)
	}
	return time.Since(began)
}

// soon is a second, and more for a machine that is busy. What a test measured is in its log.
const soon = 3 * time.Second

// TestControlAndGateway runs both as processes: what is made at one works at the other, and nothing is lost when the control plane
// is killed and started again.
func TestControlAndGateway(t *testing.T) {
	t.Run("SQLite", testControlAndGateway)
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Setenv(databaseVariable, newPostgres(t).Address("postgres"))
		testControlAndGateway(t)
	})
}

func testControlAndGateway(t *testing.T) {
	upstream, a := newCannedUpstream(t), newApart(t)
	config := configFile(t, providerText("main", upstream.URL))
	control := programHere(t, nil, a.controlArgs(config)...)
	a.controlAdmin = printedBy(t, control, controlPrints)[2]
	gateway := programHere(t, nil, a.gatewayArgs("--config", config)...)
	gateway.Env = append(gateway.Env, "TEST_KEY=") // The gateway has the same file, but no secret of its own.
	found := printedBy(t, gateway, gatewayPrints)
	a.base, a.admin = found[1], found[2]
	a.becomes(t, 200, "ready")
	token := newToken(t, a.data)
	status, answer := a.ask(t, "/main/v1/messages", token, helloBody)
	if body, key := upstream.latest(); status != 200 || answer != fixedAnswer || body != helloBody || key != "sk-key-of-the-control-plane" {
		t.Errorf("%d %q; the upstream got %q with the key %q", status, answer, body, key)
	}
	a.flushed(t)
	if n := recorded(t, a.data); n != 1 {
		t.Errorf("%d interceptions are recorded", n)
	}

	a.must(t, "sk-another-key\n", "provider", "add", "late", "--type", "anthropic", "--base-url", upstream.URL, "--key", "-")
	took := a.takes(t, "late", token, 200)
	t.Logf("a new provider is served after %v", took)
	if _, key := upstream.latest(); took > soon || key != "sk-another-key" {
		t.Errorf("a new provider is served after %v, with the key %q", took, key)
	}
	other := newToken(t, a.data)
	if status := a.status(t, "main", other); status != 200 {
		t.Errorf("another token: %d", status)
	}
	a.must(t, "", "token", "revoke", other[:10])
	took = a.takes(t, "main", other, 403)
	t.Logf("a revoked token is refused after %v", took)
	if took > soon {
		t.Errorf("a revoked token is refused after %v", took)
	}

	a.flushed(t)
	before := recorded(t, a.data)
	waiting := make(chan string)
	go func() { // It is answered while there is no control plane.
		status, answer := a.ask(t, "/main/v1/messages", token, strings.Replace(helloBody, "Hello", "wait", 1))
		waiting <- fmt.Sprint(status, " ", answer)
	}()
	<-upstream.arrived
	check(t, control.Process.Kill())
	_ = control.Wait()
	a.becomes(t, 503, "not ready: ")
	close(upstream.release)
	if got := <-waiting; got != "200 "+fixedAnswer {
		t.Errorf("a request that was running got %q", got)
	}
	began := time.Now()
	status, answer = a.ask(t, "/main/v1/messages", token, helloBody)
	if status != 503 || !strings.HasPrefix(answer, `{"type":"error","error":{"type":"`) {
		t.Errorf("without a control plane: %d %s", status, answer)
	}
	if took := time.Since(began); took > remoteWait+soon {
		t.Errorf("it was refused after %v", took)
	}
	if a.pending(t) == 0 {
		t.Error("no record waits")
	}

	control = programHere(t, nil, a.controlArgs(config)...)
	a.controlAdmin = printedBy(t, control, controlPrints)[2]
	a.becomes(t, 200, "ready")
	if status := a.status(t, "late", token); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
	a.flushed(t)
	if n := recorded(t, a.data); n != before+2 {
		t.Errorf("%d interceptions are recorded, want %d", n, before+2)
	}
	(&running{cmd: gateway}).end(t, syscall.SIGTERM)
	(&running{cmd: control}).end(t, syscall.SIGTERM)
}
