package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/sloghuman"

	"github.com/coder/aibridged/internal/testkit"
)

// writeCertificate writes a certificate of that number for 127.0.0.1, and its key.
func writeCertificate(t *testing.T, files tlsConfig, number int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, files.Cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	writeTestFile(t, files.Key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}

func writeTestFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func testCertificate(t *testing.T) tlsConfig {
	t.Helper()
	dir := t.TempDir()
	return tlsConfig{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
}

// secured is a client of a gateway that speaks TLS.
type secured struct {
	http.Client

	served int64 // The number of the certificate of the latest answer.
	reused bool  // It came over a connection that was there before.
	proto  string
}

func newSecured(t *testing.T, isHTTP2 bool) *secured {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!isHTTP2)
	protocols.SetHTTP2(isHTTP2)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &secured{Client: http.Client{Transport: transport}}
}

func (s *secured) get(t *testing.T, url string) {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { s.reused = info.Reused }})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != 200 {
		t.Fatalf("%d, %v", response.StatusCode, err)
	}
	s.served, s.proto = response.TLS.PeerCertificates[0].SerialNumber.Int64(), response.Proto
}

// startListening starts serve with a configuration, and returns where it says that it listens.
func startListening(t *testing.T, config string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	writeTestFile(t, path, config)
	ctx, cancel := context.WithCancel(context.Background())
	gateway := lineOf(t, ctx, `listens on (\S+)`, append([]string{"serve", "--admin-listen", "off", "--data-dir", t.TempDir(), "--config", path}, args...)...)
	t.Cleanup(func() {
		cancel()
		if err := <-gateway.ended; err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	return gateway.found
}

// TestServeTLS checks that serve speaks TLS with HTTP/1 and HTTP/2, and that it takes a new certificate while connections go
// on.
func TestServeTLS(t *testing.T) {
	files := testCertificate(t)
	writeCertificate(t, files, 1)
	base := startListening(t, fmt.Sprintf("tls: {cert: %q, key: %q}\n", files.Cert, files.Key), "--listen", "127.0.0.1:0")
	if !strings.HasPrefix(base, "https://") {
		t.Fatalf("it listens on %s", base)
	}
	old, old2 := newSecured(t, false), newSecured(t, true)
	old.get(t, base+"/healthz")
	old2.get(t, base+"/healthz")
	if old.proto != "HTTP/1.1" || old2.proto != "HTTP/2.0" || old.served != 1 {
		t.Errorf("%s, %s, certificate %d", old.proto, old2.proto, old.served)
	}
	if conn, err := tls.Dial("tcp", strings.TrimPrefix(base, "https://"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		_ = conn.Close()
		t.Error("it speaks TLS 1.1")
	}
	awaitServed := func(want int64) {
		t.Helper()
		await(t, func() string {
			fresh := newSecured(t, false)
			fresh.get(t, base+"/healthz")
			return unless(fresh.served == want, fmt.Sprintf("certificate %d is shown, not %d", fresh.served, want))
		})
	}
	writeCertificate(t, files, 2)
	awaitServed(2)
	for _, before := range []*secured{old, old2} {
		if before.get(t, base+"/healthz"); !before.reused || before.served != 1 {
			t.Errorf("%s: a new connection was made: %v, with certificate %d", before.proto, !before.reused, before.served)
		}
	}
}

// TestCertificateChanges checks what happens with every kind of change to the files: what is used, and what the log says.
func TestCertificateChanges(t *testing.T) {
	files := testCertificate(t)
	writeCertificate(t, files, 1)
	log := &testkit.Log{}
	c := &certificate{files: files, logger: slog.Make(sloghuman.Sink(log))}
	other := testCertificate(t)
	writeCertificate(t, other, 9)
	for _, step := range []struct {
		name    string
		change  func()
		refused bool
		served  int64
	}{
		{"at first", func() {}, false, 1},
		{"nothing new", func() {}, false, 1},
		{"another's key", func() { copyFile(t, other.Key, files.Key) }, true, 1},
		{"still another's key", func() {}, false, 1},
		{"its certificate", func() { copyFile(t, other.Cert, files.Cert) }, false, 9},
		{"no file", func() { _ = os.Remove(files.Cert) }, true, 9},
		{"still no file", func() {}, false, 9},
		{"half a file", func() { writeTestFile(t, files.Cert, "-----BEGIN CERTIFICATE-----\nMII") }, true, 9},
		{"an empty file", func() { writeTestFile(t, files.Cert, "") }, true, 9},
		{"a huge file", func() { writeTestFile(t, files.Cert, strings.Repeat("x", longestCertificate+1)) }, true, 9},
		{"a new one", func() { writeCertificate(t, files, 4) }, false, 4},
	} {
		step.change()
		err := c.look()
		if (err != nil) != step.refused {
			t.Errorf("%s: %v", step.name, err)
		}
		shown, _ := c.config().GetCertificate(nil)
		if got := shown.Leaf.SerialNumber.Int64(); got != step.served {
			t.Errorf("%s: certificate %d is shown", step.name, got)
		}
		if key, _ := os.ReadFile(files.Key); err != nil && len(key) > 60 && strings.Contains(err.Error(), string(key[40:60])) {
			t.Errorf("%s: the error has the key: %v", step.name, err)
		}
	}
	if got := strings.Count(log.String(), "a new certificate is used"); got != 2 {
		t.Errorf("logged %s", log)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, to, string(text))
}

// onSocket asks for a path of a gateway at a socket.
func onSocket(t *testing.T, socket, path string) int {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://gateway" + path)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// TestServeOnSocket checks that serve listens on a socket, with the mode that is configured, and leaves no file
// behind.
func TestServeOnSocket(t *testing.T) {
	for config, want := range map[string]fs.FileMode{"": 0o600, `listen_mode: "0660"`: 0o660, "listen_mode: 0666": 0o666} {
		t.Run(config, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "api.sock")
			t.Cleanup(func() { // After serve has ended.
				if left, _ := os.ReadDir(dir); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			})
			if got := startListening(t, config+"\n", "--listen", "unix:"+path); got != "unix:"+path {
				t.Errorf("it says that it listens on %s", got)
			}
			if status := onSocket(t, path, "/healthz"); status != 200 {
				t.Errorf("status %d", status)
			}
			found, err := os.Lstat(path)
			if err != nil || found.Mode() != fs.ModeSocket|want {
				t.Errorf("%v, %v", found.Mode(), err)
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("the directory has %v", left)
			}
		})
	}
}

// TestSockets checks what is done with what is at a socket's path: a socket that nobody listens on is replaced, all else stays.
func TestSockets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	first, err := listenForClients("unix:"+path, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenForClients("unix:"+path, ""); err == nil || !strings.Contains(err.Error(), "a program listens there: stop it") {
		t.Errorf("a second one: %v", err)
	}
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first one after that: %v", err)
	} else {
		_ = conn.Close()
	}
	if err := first.(*socket).UnixListener.Close(); err != nil { // As after a kill: the file stays.
		t.Fatal(err)
	}
	second, err := listenForClients("unix:"+path, "0640")
	if err != nil {
		t.Fatalf("with a stale socket: %v", err)
	}
	if err := first.Close(); err == nil { // It was closed before.
		t.Error("no error")
	}
	if found, err := os.Lstat(path); err != nil || found.Mode().Perm() != 0o640 {
		t.Errorf("the second one's socket: %v, %v", found, err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	writeTestFile(t, path, "mine")
	if _, err := listenForClients("unix:"+path, ""); err == nil || !strings.Contains(err.Error(), "no socket is in its place") {
		t.Errorf("with a file: %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "mine" {
		t.Errorf("the file: %q", text)
	}
	for address, want := range map[string]string{
		"unix:": "write the path", "unix:@x": "write the path", "unix:" + filepath.Join(dir, "none", "s"): "no such file",
		"unix:" + filepath.Join(dir, strings.Repeat("x", 120)): "", "127.0.0.1:0": "listen_mode is the mode of a socket",
	} {
		if listener, err := listenForClients(address, "0600"); err == nil {
			if want != "" {
				t.Errorf("%s: no error", address)
			}
			_ = listener.Close()
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestTrustedProxies checks whose word counts for the address of a client.
func TestTrustedProxies(t *testing.T) {
	for _, test := range []struct {
		trusted string
		remote  string
		said    []string
		want    string
	}{
		{"", "10.0.0.1:9", []string{"1.2.3.4"}, "10.0.0.1:9"},
		{"10.0.0.0/8", "10.0.0.1:9", nil, "10.0.0.1:9"},
		{"10.0.0.0/8", "10.0.0.1:9", []string{"1.2.3.4"}, "1.2.3.4"},
		{"10.0.0.0/8", "11.0.0.1:9", []string{"1.2.3.4"}, "11.0.0.1:9"},
		{"10.0.0.0/8", "10.0.0.1:9", []string{"6.6.6.6, 1.2.3.4"}, "1.2.3.4"},
		{"10.0.0.0/8", "10.0.0.1:9", []string{"6.6.6.6", "1.2.3.4, 10.3.3.3"}, "1.2.3.4"},
		{"10.0.0.0/8", "10.0.0.1:9", []string{"1.2.3.4", "10.3.3.3"}, "1.2.3.4"},
		{"10.0.0.0/8", "10.0.0.1:9", []string{"10.4.4.4,10.3.3.3"}, "10.4.4.4"},
		{"10.0.0.0/8", "10.0.0.1:9", []string{"1.2.3.4, nonsense, 10.3.3.3"}, "10.3.3.3"},
		{"10.0.0.0/8", "10.0.0.1:9", []string{"nonsense\x00"}, "10.0.0.1:9"},
		{"10.0.0.0/8", "10.0.0.1:9", []string{""}, "10.0.0.1:9"},
		{"10.0.0.0/8", "10.0.0.1:9", []string{"1.2.3.4:5678"}, "1.2.3.4"},
		{"10.0.0.0/8", "[::ffff:10.0.0.1]:9", []string{"::ffff:1.2.3.4"}, "1.2.3.4"},
		{"fd00::/8", "[fd00::1%eth0]:9", []string{"2001:db8::7"}, "2001:db8::7"},
		{"10.0.0.7 fd00::/8", "10.0.0.7:9", []string{"[2001:db8::7]:80"}, "2001:db8::7"},
		{"10.0.0.0/8", "@", []string{"1.2.3.4"}, "@"},
		{"unix", "@", []string{"1.2.3.4"}, "1.2.3.4"},
		{"unix", "10.0.0.1:9", []string{"1.2.3.4"}, "10.0.0.1:9"},
	} {
		p, err := newProxies(strings.Fields(test.trusted))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		r := &http.Request{RemoteAddr: test.remote, Header: http.Header{}}
		if test.said != nil {
			r.Header["X-Forwarded-For"] = test.said
		}
		p.handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr })).ServeHTTP(nil, r)
		if got != test.want || r.RemoteAddr != test.remote {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
