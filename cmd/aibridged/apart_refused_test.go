package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/controlplane/join"
)

// TestGatewayNeedsProof starts gateways that cannot prove who they are: each says in one line what to do.
func TestGatewayNeedsProof(t *testing.T) {
	t.Setenv(joinTokenVariable, "")
	t.Setenv("TEST_TOKEN", "join1-of-no-use")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no address":      {nil, `^--control "": write the host and the port`},
		"no such port":    {[]string{"--control", "control.internal:99999"}, `^--control "control.internal:99999": write the host and the port`},
		"no host":         {[]string{"--control", ":9999"}, `^--control ":9999": write the host and the port`},
		"no port":         {[]string{"--control", "control.internal"}, `^--control "control.internal": write the host and the port`},
		"no token":        {[]string{"--control", "127.0.0.1:1"}, `^a gateway needs a join token, which .aibridged control join-token. prints`},
		"another text":    {[]string{"--control", "127.0.0.1:1", "--join-token", "${TEST_TOKEN}"}, `^this is no join token: `},
		"a literal":       {[]string{"--control", "127.0.0.1:1", "--join-token", "join1-secret"}, `^join token: write \$\{NAME_OF_A_VARIABLE\} or file:`},
		"no such file":    {[]string{"--control", "127.0.0.1:1", "--join-token", "file:/no/such/file"}, `^join token: open /no/such/file`},
		"half a pair":     {[]string{"--control", "127.0.0.1:1", "--control-cert", "x"}, `^tls: write the paths of two files in PEM, cert and key$`},
		"no certificate":  {[]string{"--control", "127.0.0.1:1", "--control-cert", "/no/x", "--control-key", "/no/y"}, `^the gateway's certificate: open /no/x`},
		"no authority":    {[]string{"--control", "127.0.0.1:1", "--control-ca", "/no/x"}, `^the control plane's authority: open /no/x`},
		"negative delay":  {[]string{"--control", "127.0.0.1:1", "--drain-delay", "-1s"}, `^--drain-delay must not be negative, and --drain-time must be above zero$`},
		"too many words":  {[]string{"--control", "127.0.0.1:1", "more"}, `unknown command`},
		"page of records": {[]string{"--control", "127.0.0.1:1", "--no-console"}, `unknown flag`},
	} {
		args := append([]string{"gateway", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", filepath.Join(t.TempDir(), "data")}, test.args...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // A gateway that is not refused would run on.
		_, _, err := run(ctx, args...)
		cancel()
		if err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

// TestRefusedGateway has a gateway whose join token is not valid: it waits, and says so, until it has a valid one. When that is
// revoked, it is disconnected.
func TestRefusedGateway(t *testing.T) {
	upstream, a := newCannedUpstream(t), newApart(t)
	a.startControl(t, configFile(t, providerText("main", upstream.URL)))
	valid, err := join.ParseToken(a.joinToken)
	check(t, err)
	wrong := valid
	wrong.Secret = join.NewToken(nil).Secret
	file := filepath.Join(t.TempDir(), "join-token")
	check(t, os.WriteFile(file, []byte(wrong.Text()+"\n"), 0o600))
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	check(t, err)
	defer log.Close()
	gateway := programHere(t, log, a.gatewayArgs("--join-token", "file:"+file)...)
	found := printedBy(t, gateway, gatewayPrints)
	a.base, a.admin = found[1], found[2]
	a.becomes(t, 503, "not ready: the control plane refuses this gateway, the log says why\n")
	token := newToken(t, a.data)
	if status, answer := a.ask(t, "/main/v1/messages", token, helloBody); status != 503 || !strings.Contains(answer, "does not know its providers yet") {
		t.Errorf("%d %s", status, answer)
	}
	text, err := os.ReadFile(log.Name())
	check(t, err)
	if !strings.Contains(string(text), "the control plane refuses this gateway: the join token is not valid, or was revoked: `aibridged control join-token` prints another") {
		t.Errorf("the log:\n%s", text)
	}
	if strings.Contains(string(text), wrong.Secret) {
		t.Error("the log has the secret")
	}

	check(t, os.WriteFile(file, []byte(a.joinToken), 0o600))
	within(t, "^200 ", func() string {
		status, answer := a.get(t, "/readyz")
		return fmt.Sprint(status, " ", strings.TrimSpace(answer))
	})
	if status := a.status(t, "main", token); status != 200 {
		t.Errorf("once it is let in: %d", status)
	}
	list := a.must(t, "", "control", "join-token", "list")
	if !strings.Contains(list, valid.ID+"  test") || !strings.Contains(list, "valid") || strings.Contains(list, valid.Secret) {
		t.Errorf("the list:\n%s", list)
	}
	if _, err := a.command(t, "", "control", "join-token", "revoke", a.joinToken); err == nil || strings.Contains(err.Error(), valid.Secret) {
		t.Errorf("a token in the place of an id: %v", err)
	}
	a.must(t, "", "control", "join-token", "revoke", valid.ID)
	began := time.Now()
	a.becomes(t, 503, "not ready: the control plane refuses this gateway")
	t.Logf("a gateway is disconnected and refused %v after its join token was revoked", time.Since(began))
	if list := a.must(t, "", "control", "join-token", "list"); !strings.Contains(list, "revoked") {
		t.Errorf("the list:\n%s", list)
	}
	check(t, os.Remove(file))
	a.becomes(t, 503, "not ready: the join token cannot be read, the log says why\n")
	check(t, gateway.Process.Kill())
	_ = gateway.Wait()
}

// TestControlPlaneOfAnotherVersion has a control plane that cannot tell of providers: the gateway serves those of its own
// configuration, and those of the control plane once that is replaced.
func TestControlPlaneOfAnotherVersion(t *testing.T) {
	upstream, a := newCannedUpstream(t), newApart(t)
	token := newToken(t, a.data)
	stop := a.startOlder(t)
	config := configFile(t, providerText("ofthefile", upstream.URL))
	a.startGateway(t, "--config", config)
	a.becomes(t, 200, "ready")
	if status := a.status(t, "ofthefile", token); status != 200 {
		t.Errorf("a provider of the file: %d", status)
	}
	stop()
	a.startControl(t, configFile(t, providerText("ofcontrol", upstream.URL)))
	a.takes(t, "ofcontrol", token, 200)
	if status := a.status(t, "ofthefile", token); status != 400 && status != 404 {
		t.Errorf("a provider of the file, where the control plane has providers: %d", status)
	}
}

// startOlder serves a control plane that has the services of the contract alone.
func (a *apart) startOlder(t *testing.T) (stop func()) {
	t.Helper()
	s := settings{dataDir: a.data}
	own, err := openAuthority(s)
	check(t, err)
	store, err := openStore(t.Context(), s, slog.Logger{})
	check(t, err)
	older := &control{plane: &plane{store: store}}
	gate := &join.Gate{
		TLS:   &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{join.Protocol}, GetCertificate: own.get},
		Check: older.checkJoinToken,
	}
	listener, err := net.Listen("tcp", a.control)
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- controlplane.Serve(ctx, listener, struct{ aibridged.DRPCServer }{store.Server}, controlplane.ServeOptions{Admit: gate.Admit})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		check(t, errors.Join(<-served, store.Close()))
	})
	t.Cleanup(stop)
	return stop
}

// hole is a proxy in front of an address whose connections can be made to swallow everything.
type hole struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu    sync.Mutex
	stuck chan struct{} // Closed when the connections of now carry nothing more. Guarded by mu.
	conns []net.Conn    // Guarded by mu.
}

// newHole starts a proxy, which ends with the test.
func newHole(t *testing.T, to string) *hole {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	h := &hole{listener: listener, to: to, stuck: make(chan struct{})}
	h.running.Go(h.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		h.mu.Lock()
		for _, conn := range h.conns {
			_ = conn.Close()
		}
		h.mu.Unlock()
		h.running.Wait()
	})
	return h
}

func (h *hole) accept() {
	for {
		near, err := h.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", h.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		h.mu.Lock()
		h.conns = append(h.conns, near, far)
		stuck := h.stuck
		h.mu.Unlock()
		h.running.Go(func() { carry(near, far, stuck) })
		h.running.Go(func() { carry(far, near, stuck) })
	}
}

// carry copies from one connection to another, until either ends. Once stuck is closed, it takes bytes and carries none.
func carry(from, to net.Conn, stuck <-chan struct{}) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		select {
		case <-stuck:
			if err != nil {
				return // The other end is not told.
			}
			continue
		default:
		}
		if err == nil {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// swallow makes the connections that are open now carry nothing more. Later ones are as usual.
func (h *hole) swallow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.stuck)
	h.stuck = make(chan struct{})
}

// TestSwallowedConnection has the connection between gateway and control plane carry nothing any more, without an end: what
// changes is right within ten seconds, and no token that was revoked is accepted meanwhile.
func TestSwallowedConnection(t *testing.T) {
	upstream, a := newCannedUpstream(t), newApart(t)
	a.startControl(t, configFile(t, providerText("main", upstream.URL)))
	between := newHole(t, a.control)
	a.control = between.listener.Addr().String()
	a.startGateway(t)
	a.becomes(t, 200, "ready")
	token, other := newToken(t, a.data), newToken(t, a.data)
	for _, one := range []string{token, other} {
		if status := a.status(t, "main", one); status != 200 {
			t.Fatal(status)
		}
	}
	between.swallow()
	began := time.Now()
	a.must(t, "", "token", "revoke", other[:10])
	a.must(t, "sk-another-key\n", "provider", "add", "late", "--type", "anthropic", "--base-url", upstream.URL, "--key", "-")
	revoked := make(chan int)
	go func() {
		status, _ := a.ask(t, "/main/v1/messages", other, helloBody)
		revoked <- status
	}()
	a.takes(t, "late", token, 200)
	took := time.Since(began)
	t.Logf("a change is right after %v", took)
	if took > 10*time.Second {
		t.Errorf("a change is right after %v", took)
	}
	if status := <-revoked; status != 403 && status != 503 {
		t.Errorf("a revoked token: %d", status)
	}
	if status := a.status(t, "main", other); status != 403 {
		t.Errorf("a revoked token, afterwards: %d", status)
	}
}

// TestNothingBeforeTheGate sends what is no gateway to the control plane's port: it gets nothing but an end.
func TestNothingBeforeTheGate(t *testing.T) {
	a := newApart(t)
	a.startControl(t, configFile(t, "providers: []"))
	for _, said := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x00\x01\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00", strings.Repeat("x", 1<<16)} {
		conn, err := net.Dial("tcp", a.control)
		check(t, err)
		_, _ = io.WriteString(conn, said)
		check(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
		got, err := io.ReadAll(io.LimitReader(conn, 1<<16))
		if len(got) > 200 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q got %q, %v", said, got, err)
		}
		_ = conn.Close()
	}
}
