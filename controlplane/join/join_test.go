package join_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/coder/aibridged/controlplane/join"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs certificates for tests.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{}
	a.certificate, a.key = a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign returns a certificate like template, which an authority without a certificate signs with the new key itself.
func (a *authority) sign(t testing.TB, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "test"}
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, by := a.certificate, a.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed, key
}

// issue returns a certificate for a use, with its chain.
func (a *authority) issue(t testing.TB, use x509.ExtKeyUsage, template x509.Certificate) tls.Certificate {
	t.Helper()
	template.ExtKeyUsage, template.KeyUsage = []x509.ExtKeyUsage{use}, x509.KeyUsageDigitalSignature
	signed, key := a.sign(t, &template)
	return tls.Certificate{Certificate: [][]byte{signed.Raw, a.certificate.Raw}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// gateOf returns a gate that lets one token in.
func gateOf(t testing.TB, a *authority, valid join.Token) *join.Gate {
	return &join.Gate{
		TLS: &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{join.Protocol},
			Certificates: []tls.Certificate{a.issue(t, x509.ExtKeyUsageServerAuth, x509.Certificate{DNSNames: []string{"control.test"}})},
		},
		Check: func(_ context.Context, id, secret string) error {
			switch {
			case id == "undecided0":
				return errors.New("no database")
			case id != valid.ID || secret != valid.Secret:
				return join.ErrInvalid
			}
			return nil
		},
	}
}

// meet has a client meet a gate, and returns what each gets. It closes the connections at the end of the test.
func meet(t *testing.T, gate *join.Gate, client func(context.Context, net.Conn) (net.Conn, error)) (in net.Conn, entered, refused error) {
	t.Helper()
	near, far := net.Pipe()
	var running sync.WaitGroup
	var admitted net.Conn
	running.Go(func() { admitted, refused = gate.Admit(t.Context(), far) })
	in, entered = client(t.Context(), near)
	if entered != nil {
		_ = near.Close()
	}
	running.Wait()
	t.Cleanup(func() {
		for _, conn := range []net.Conn{near, far} {
			_ = conn.Close()
		}
		if admitted != nil {
			_ = admitted.Close()
		}
	})
	if entered == nil && refused == nil {
		running.Go(func() { _, _ = io.Copy(admitted, admitted) })
		if _, err := in.Write([]byte("hello")); err != nil {
			t.Error(err)
		}
		echo := make([]byte, 5)
		if _, err := io.ReadFull(in, echo); err != nil || string(echo) != "hello" {
			t.Errorf("behind the greeting: %q, %v", echo, err)
		}
		t.Cleanup(running.Wait)
		t.Cleanup(func() { _ = near.Close() })
	}
	return in, entered, refused
}

// enter is a client with a token.
func enter(token join.Token, trust join.Trust) func(context.Context, net.Conn) (net.Conn, error) {
	return func(ctx context.Context, conn net.Conn) (net.Conn, error) {
		return join.Enter(ctx, conn, trust.Config(token), token)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	own, other := newAuthority(t), newAuthority(t)
	token := join.NewToken(own.certificate)
	wrong := token
	wrong.Secret = join.NewToken(nil).Secret
	byName := token
	byName.Pin = nil
	elsewhere := token
	elsewhere.Pin = join.NewToken(other.certificate).Pin
	undecided := token
	undecided.ID = "undecided0"
	named := join.Trust{Host: "control.test", Roots: own.pool()}
	for name, test := range map[string]struct {
		token join.Token
		trust join.Trust
		want  error
		text  string
	}{
		"the right one":              {token, join.Trust{Host: "any.test"}, nil, ""},
		"by name":                    {byName, named, nil, ""},
		"authorities before the pin": {elsewhere, named, nil, ""},
		"a wrong secret":             {wrong, join.Trust{}, join.ErrRefused, "not valid, or was revoked"},
		"another id":                 {join.NewToken(own.certificate), join.Trust{}, join.ErrRefused, "not valid, or was revoked"},
		"none":                       {join.Token{Pin: token.Pin}, join.Trust{}, join.ErrRefused, "neither a join token nor a certificate"},
		"no answer is possible":      {undecided, join.Trust{}, join.ErrRefused, "cannot be decided now"},
		"another control plane":      {elsewhere, join.Trust{}, join.ErrUntrusted, "another authority"},
		"by another name":            {byName, join.Trust{Host: "other.test", Roots: own.pool()}, nil, "not other.test"},
		"by another authority":       {byName, join.Trust{Host: "control.test", Roots: other.pool()}, nil, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gate := gateOf(t, own, token)
			_, entered, refused := meet(t, gate, enter(test.token, test.trust))
			if test.want == nil && test.text == "" {
				if entered != nil || refused != nil || gate.Gateways() != 1 {
					t.Errorf("%v, %v, %d gateways", entered, refused, gate.Gateways())
				}
				return
			}
			if entered == nil || refused == nil || test.want != nil && !errors.Is(entered, test.want) || !strings.Contains(entered.Error(), test.text) {
				t.Errorf("the gateway got %v, want %v: %s; the gate got %v", entered, test.want, test.text, refused)
			}
			if strings.Contains(entered.Error()+refused.Error(), "no database") && !strings.Contains(refused.Error(), "no database") {
				t.Errorf("the gateway is told %v", entered)
			}
			if strings.Contains(entered.Error()+refused.Error(), test.token.Secret) && test.token.Secret != "" {
				t.Error("an error has the secret")
			}
			if gate.Gateways() != 0 {
				t.Error("it counts as connected")
			}
		})
	}
}

// TestPinnedAuthorityMustSign has a control plane that shows the authority of another one, which has not signed its
// certificate, and certificates that are not for a control plane or are too old.
func TestPinnedAuthorityMustSign(t *testing.T) {
	t.Parallel()
	own, other := newAuthority(t), newAuthority(t)
	token := join.NewToken(own.certificate)
	stolen := other.issue(t, x509.ExtKeyUsageServerAuth, x509.Certificate{})
	stolen.Certificate[1] = own.certificate.Raw
	past := x509.Certificate{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	for name, shown := range map[string]tls.Certificate{
		"of another authority": stolen,
		"a gateway's":          own.issue(t, x509.ExtKeyUsageClientAuth, x509.Certificate{}),
		"too old":              own.issue(t, x509.ExtKeyUsageServerAuth, past),
	} {
		gate := gateOf(t, own, token)
		gate.TLS.Certificates = []tls.Certificate{shown}
		if _, entered, _ := meet(t, gate, enter(token, join.Trust{})); !errors.Is(entered, join.ErrUntrusted) {
			t.Errorf("%s: %v", name, entered)
		}
	}
}

// TestCertificates has gateways that show certificates.
func TestCertificates(t *testing.T) {
	synctest.Test(t, testCertificates) // A pipe has no buffer, so that each refusal takes five seconds.
}

func testCertificates(t *testing.T) {
	own, gateways, other := newAuthority(t), newAuthority(t), newAuthority(t)
	for name, test := range map[string]struct {
		shown tls.Certificate
		good  bool
	}{
		"of the authority":      {gateways.issue(t, x509.ExtKeyUsageClientAuth, x509.Certificate{}), true},
		"of another authority":  {other.issue(t, x509.ExtKeyUsageClientAuth, x509.Certificate{}), false},
		"of the control plane":  {own.issue(t, x509.ExtKeyUsageClientAuth, x509.Certificate{}), false},
		"not for a gateway":     {gateways.issue(t, x509.ExtKeyUsageServerAuth, x509.Certificate{}), false},
		"none at all":           {tls.Certificate{}, false},
		"too old to be trusted": {gateways.issue(t, x509.ExtKeyUsageClientAuth, x509.Certificate{NotBefore: time.Unix(1, 0), NotAfter: time.Unix(2, 0)}), false},
	} {
		gate := gateOf(t, own, join.Token{})
		gate.TLS.ClientAuth, gate.TLS.ClientCAs = tls.VerifyClientCertIfGiven, gateways.pool()
		trust := join.Trust{Host: "control.test", Roots: own.pool()}
		if test.shown.Certificate != nil {
			trust.Own = []tls.Certificate{test.shown}
		}
		_, entered, refused := meet(t, gate, enter(join.Token{}, trust))
		if good := entered == nil && refused == nil; good != test.good || gate.Gateways() > 0 != test.good {
			t.Errorf("%s: %v, %v", name, entered, refused)
		}
	}
}

// TestRefusedCertificates has gateways whose certificates TLS itself refuses: their error says that they are refused, also if the
// control plane closes the connection before they have said who they are.
func TestRefusedCertificates(t *testing.T) {
	own, gateways := newAuthority(t), newAuthority(t)
	old := x509.Certificate{NotBefore: time.Unix(1, 0), NotAfter: time.Unix(2, 0)}
	for want, shown := range map[string]tls.Certificate{
		"tls: bad certificate":     gateways.issue(t, x509.ExtKeyUsageServerAuth, x509.Certificate{}),
		"tls: expired certificate": gateways.issue(t, x509.ExtKeyUsageClientAuth, old),
	} {
		for _, late := range []bool{false, true} {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			gate := gateOf(t, own, join.Token{})
			gate.TLS.ClientAuth, gate.TLS.ClientCAs = tls.VerifyClientCertIfGiven, gateways.pool()
			refused := make(chan struct{})
			go func() {
				defer close(refused)
				if conn, err := listener.Accept(); err == nil {
					_, _ = gate.Admit(t.Context(), conn)
				}
			}()
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if late {
				conn = &lateConn{Conn: conn, until: refused}
			}
			trust := join.Trust{Host: "control.test", Roots: own.pool(), Own: []tls.Certificate{shown}}
			if _, err := join.Enter(t.Context(), conn, trust.Config(join.Token{}), join.Token{}); !errors.Is(err, join.ErrRefused) || !strings.Contains(err.Error(), want) {
				t.Errorf("late %t: %v, want %s", late, err, want)
			}
			<-refused
			_ = listener.Close()
		}
	}
}

// lateConn sends nothing behind the handshake, which is two writes: it waits, and then it is too late.
type lateConn struct {
	net.Conn

	until  <-chan struct{}
	writes int
}

func (c *lateConn) Write(b []byte) (int, error) {
	if c.writes++; c.writes > 2 {
		<-c.until
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

// TestOddGreetings has peers that speak TLS and then something else: each is refused, and gets no more than a line.
func TestOddGreetings(t *testing.T) {
	synctest.Test(t, testOddGreetings)
}

func testOddGreetings(t *testing.T) {
	own := newAuthority(t)
	token := join.NewToken(own.certificate)
	good := "token " + token.ID + " " + token.Secret
	for _, odd := range []string{
		"\n", "\x00\n", "certificat\n", good + " \n", good + " more\n", " " + good + "\n", good + "\r\n", strings.ToUpper(good) + "\n",
		"GET / HTTP/1.1\r\n", strings.Repeat("x", 300), "token " + strings.Repeat("a", 240) + "\n", "token \xff\xff \xfe\n", "token  \n",
	} {
		gate := gateOf(t, own, token)
		_, entered, refused := meet(t, gate, func(ctx context.Context, conn net.Conn) (net.Conn, error) {
			secured := tls.Client(conn, join.Trust{}.Config(token))
			if err := secured.HandshakeContext(ctx); err != nil {
				return nil, err
			}
			go func() { _, _ = io.WriteString(secured, odd) }() // The other end may not read all of it.
			answer, err := io.ReadAll(io.LimitReader(secured, 1000))
			return nil, fmt.Errorf("%s%w", answer, err)
		})
		if refused == nil || gate.Gateways() != 0 || !strings.HasPrefix(entered.Error(), "refused it did not say who it is") {
			t.Errorf("%.40q: %v, %v", odd, entered, refused)
		}
	}
	for _, plain := range []string{"", "\x00", "GET / HTTP/1.0\r\n\r\n", good + "\n", "\x16\x03\x01\xff\xff"} {
		gate := gateOf(t, own, token)
		_, _, refused := meet(t, gate, func(_ context.Context, conn net.Conn) (net.Conn, error) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			_, _ = io.WriteString(conn, plain)
			return nil, errors.New("it does not speak TLS")
		})
		if refused == nil || gate.Gateways() != 0 {
			t.Errorf("without TLS, %q: %v", plain, refused)
		}
	}
}

// TestSlowPeers has peers that say nothing, on either end: after five seconds each is given up.
func TestSlowPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := newAuthority(t)
		token := join.NewToken(own.certificate)
		gate := gateOf(t, own, token)
		began := time.Now()
		for _, until := range []string{"the beginning", "the greeting", "the middle of the greeting"} {
			near, far := net.Pipe()
			var running sync.WaitGroup
			running.Go(func() {
				secured := tls.Client(near, join.Trust{}.Config(token))
				if until == "the beginning" || secured.HandshakeContext(t.Context()) != nil {
					return
				}
				if until == "the middle of the greeting" {
					_, _ = io.WriteString(secured, "token "+token.ID)
				}
			})
			if _, err := gate.Admit(t.Context(), far); err == nil {
				t.Errorf("silent from %s: let in", until)
			}
			running.Wait()
			_ = near.Close()
		}
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("three silent gateways took %v", took)
		}
		began = time.Now()
		near, far := net.Pipe()
		if _, err := join.Enter(t.Context(), near, join.Trust{}.Config(token), token); !errors.Is(err, context.DeadlineExceeded) {
			_ = far.Close()
			t.Errorf("a silent control plane: %v", err)
		}
		_ = far.Close()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("a silent control plane took %v", took)
		}
	})
}

// TestManyPeers has more peers at a time than may be there without a name: the next is refused at once, and a gateway is let in
// again once they have been given up.
func TestManyPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := newAuthority(t)
		token := join.NewToken(own.certificate)
		gate := gateOf(t, own, token)
		var running sync.WaitGroup
		for range 256 {
			near, far := net.Pipe()
			running.Go(func() {
				defer near.Close()
				if _, err := gate.Admit(t.Context(), far); err == nil {
					t.Error("a silent peer is let in")
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		near, far := net.Pipe()
		if _, err := gate.Admit(t.Context(), far); err == nil || time.Since(began) != 0 {
			t.Errorf("one more: %v after %v", err, time.Since(began))
		}
		_ = near.Close()
		running.Wait()
		near, far = net.Pipe()
		running.Go(func() {
			if _, err := join.Enter(t.Context(), near, join.Trust{}.Config(token), token); err != nil {
				t.Error(err)
			}
		})
		in, err := gate.Admit(t.Context(), far)
		if err != nil {
			t.Fatal(err)
		}
		running.Wait()
		_ = near.Close()
		_ = in.Close()
	})
}

// TestRevoke disconnects the gateways of one token.
func TestRevoke(t *testing.T) {
	t.Parallel()
	own := newAuthority(t)
	token := join.NewToken(own.certificate)
	gate := gateOf(t, own, token)
	in, entered, _ := meet(t, gate, enter(token, join.Trust{}))
	if entered != nil {
		t.Fatal(entered)
	}
	gate.Revoke("another")
	if ids := gate.TokenIDs(); len(ids) != 1 || ids[0] != token.ID {
		t.Fatal(ids)
	}
	gate.Revoke(token.ID)
	if _, err := in.Read(make([]byte, 1)); err == nil {
		t.Error("it is still connected")
	}
	if len(gate.TokenIDs()) != 0 || gate.Gateways() != 0 {
		t.Error("it still counts")
	}
}

func TestParseToken(t *testing.T) {
	t.Parallel()
	own := newAuthority(t)
	for _, token := range []join.Token{join.NewToken(own.certificate), join.NewToken(nil)} {
		got, err := join.ParseToken(token.Text())
		if err != nil || got.Text() != token.Text() {
			t.Errorf("%v, %v", got, err)
		}
		for _, said := range []string{fmt.Sprint(token), fmt.Sprintf("%v %+v %#v", token, &token, token)} {
			if strings.Contains(said, token.Secret) {
				t.Errorf("%s shows the secret", said)
			}
		}
		text := token.Text()
		for _, odd := range []string{"", "join1", text[1:], text[:len(text)-1], text + "-", text + "0", " " + text, strings.Replace(text, "-", "_", 1), "join2" + text[5:]} {
			_, err := join.ParseToken(odd)
			if err == nil {
				t.Errorf("%q is a token", odd)
			} else if strings.Contains(err.Error(), token.Secret) {
				t.Errorf("%v has the secret", err)
			}
		}
	}
}
