package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/controlplane/join"
)

// issuer is a certificate authority of a test, for control planes and gateways.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	serial, err := newSerial()
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test " + serial.String()}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(t, err)
	certificate, err := x509.ParseCertificate(signed)
	check(t, err)
	return &issuer{certificate, key}
}

// write writes the authority's certificate to a file.
func (i *issuer) write(t *testing.T, path string) {
	t.Helper()
	writeTestFile(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Raw})))
}

// issue writes a certificate for a use, and its key, to files.
func (i *issuer) issue(t *testing.T, files tlsConfig, use x509.ExtKeyUsage) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	serial, err := newSerial()
	check(t, err)
	signed, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{use},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, i.certificate, &key.PublicKey, i.key)
	check(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	writeTestFile(t, files.Cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})))
	writeTestFile(t, files.Key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})))
}

func filesIn(dir, name string) tlsConfig {
	return tlsConfig{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
}

// TestMutualTLS has a control plane and a gateway that know each other by certificates from files. Both ends read them again:
// after all have changed, a new connection is made with the new ones.
func TestMutualTLS(t *testing.T) {
	upstream, a := newCannedUpstream(t), newApart(t)
	t.Setenv(joinTokenVariable, "")
	dir := t.TempDir()
	ofControl, ofGateway, controlCA, gatewayCA := filesIn(dir, "control"), filesIn(dir, "gateway"), filepath.Join(dir, "ca"), filepath.Join(dir, "gateways")
	change := func() {
		control, gateways := newIssuer(t), newIssuer(t)
		control.write(t, controlCA)
		gateways.write(t, gatewayCA)
		control.issue(t, ofControl, x509.ExtKeyUsageServerAuth)
		gateways.issue(t, ofGateway, x509.ExtKeyUsageClientAuth)
	}
	change()
	config := configFile(t, providerText("main", upstream.URL)+"control: {tls: {cert: '"+ofControl.Cert+"', key: '"+ofControl.Key+"'}, ca: '"+gatewayCA+"'}\n")
	a.startControl(t, config)
	between := newHole(t, a.control)
	a.control = between.listener.Addr().String()
	a.startGateway(t, "--control-ca", controlCA, "--control-cert", ofGateway.Cert, "--control-key", ofGateway.Key)
	a.becomes(t, 200, "ready")
	token := newToken(t, a.data)
	if status := a.status(t, "main", token); status != 200 {
		t.Fatal(status)
	}
	change()
	a.shows(t, controlCA)
	between.cut()
	a.becomes(t, 200, "ready")
	a.takes(t, "main", token, 200)

	// A gateway whose certificate is not for that use is refused within TLS, and says so.
	authority := newIssuer(t)
	authority.write(t, gatewayCA)
	authority.issue(t, ofGateway, x509.ExtKeyUsageServerAuth)
	between.cut()
	a.becomes(t, 503, "not ready: the control plane refuses this gateway, the log says why")

	// A gateway of another authority is not let in, nor is a control plane of another one trusted.
	other := newIssuer(t)
	other.issue(t, ofGateway, x509.ExtKeyUsageClientAuth)
	between.cut()
	a.becomes(t, 503, "not ready: the control plane")
	other.write(t, gatewayCA)
	within(t, "^ready", func() string { _, answer := a.get(t, "/readyz"); return answer })
	other.write(t, controlCA)
	between.cut()
	a.becomes(t, 503, "not ready: the control plane's certificate is not trusted, the log says why")
}

// cut ends the connections that are open now.
func (h *hole) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, conn := range h.conns {
		_ = conn.Close()
	}
	h.conns = nil
}

// shows waits until the control plane shows a certificate of an authority.
func (a *apart) shows(t *testing.T, ca string) {
	t.Helper()
	pool, err := readAuthorities(ca)
	check(t, err)
	within(t, "^$", func() string {
		conn, err := tls.Dial("tcp", a.control, join.Trust{Host: "localhost", Roots: pool}.Config(join.Token{}))
		if err != nil {
			return err.Error()
		}
		_ = conn.Close()
		return ""
	})
}

// TestJoinTokenByName has a control plane whose certificate comes from others: its join tokens name no authority.
func TestJoinTokenByName(t *testing.T) {
	upstream, a := newCannedUpstream(t), newApart(t)
	dir := t.TempDir()
	files, ca, by := filesIn(dir, "control"), filepath.Join(dir, "ca"), newIssuer(t)
	by.write(t, ca)
	by.issue(t, files, x509.ExtKeyUsageServerAuth)
	more := []string{"--cert", files.Cert, "--key", files.Key}
	a.startControl(t, configFile(t, providerText("main", upstream.URL)), more...)
	text := strings.TrimSpace(a.must(t, "", append([]string{"control", "join-token"}, more...)...))
	t.Setenv(joinTokenVariable, text)
	if !strings.HasSuffix(text, "-byname") {
		t.Error("the token names an authority")
	}
	_, port, err := net.SplitHostPort(a.control)
	check(t, err)
	a.control = "localhost:" + port
	stop := a.startGateway(t, "--control-ca", ca)
	a.becomes(t, 200, "ready")
	stop()
	a.startGateway(t) // The system's authorities do not know this one.
	a.becomes(t, 503, "not ready: the control plane's certificate is not trusted")
}

// TestAuthority makes an authority once, and certificates from time to time.
func TestAuthority(t *testing.T) {
	s := settings{dataDir: filepath.Join(t.TempDir(), "data")}
	first, err := openAuthority(s)
	check(t, err)
	again, err := openAuthority(s)
	check(t, err)
	if !first.certificate.Equal(again.certificate) {
		t.Error("the authority is another one")
	}
	one, err := first.get(nil)
	check(t, err)
	if two, err := first.get(nil); err != nil || two != one {
		t.Errorf("another certificate at once: %v", err)
	}
	first.made = first.made.Add(-certificateRenewed)
	if two, err := first.get(nil); err != nil || two == one {
		t.Errorf("the same certificate after a month: %v", err)
	}
	writeTestFile(t, s.authorityFile(), "nonsense")
	if _, err := openAuthority(s); err == nil || !strings.Contains(err.Error(), "restore it, or delete it and make new join tokens") {
		t.Errorf("a damaged file: %v", err)
	}
}
