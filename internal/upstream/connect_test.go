package upstream

import (
	"bytes"
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
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/rawserver"
)

func TestFault001ConnectionRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	r := request(t, http.MethodPost, "http://"+listener.Addr().String()+"/v1/messages", "{}")
	if failure := wantFailure(t, guarded(t), r, http.StatusBadGateway); failure.Text != textUnreachable {
		t.Errorf("text %q", failure.Text)
	}
}

func TestFault002NameNotResolved(t *testing.T) {
	next := Guard(newTransport(t, Limits{Dial: 5 * time.Second}))
	r := request(t, http.MethodPost, "http://provider.invalid/v1/messages", "{}")
	failure := wantFailure(t, next, r, http.StatusBadGateway)
	if _, ok := errors.AsType[*net.DNSError](failure.Cause); !ok {
		t.Errorf("cause %v, want a DNS error", failure.Cause)
	}
}

// A resolver that is too slow counts as one that failed.
func TestFault002NameNotResolvedInTime(t *testing.T) {
	err := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "i/o timeout", Name: "h", IsTimeout: true}}
	if failure := Failure(err); failure.Status != http.StatusBadGateway || failure.Text != textUnreachable {
		t.Errorf("got %d %q", failure.Status, failure.Text)
	}
}

func TestFault004TLS(t *testing.T) {
	now := time.Now()
	good := x509.Certificate{NotAfter: now.Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	expired, other := good, good
	expired.NotAfter = now.Add(-time.Minute)
	other.IPAddresses, other.DNSNames = nil, []string{"other.example"}

	cases := map[string]struct {
		certificate x509.Certificate
		trusted     bool
		version     uint16 // The newest that the server speaks.
		status      int
		text        string
	}{
		"good":         {good, true, tls.VersionTLS13, http.StatusOK, ""},
		"expired":      {expired, true, tls.VersionTLS13, http.StatusBadGateway, textUnreachable},
		"wrong name":   {other, true, tls.VersionTLS13, http.StatusBadGateway, textUnreachable},
		"untrusted":    {good, false, tls.VersionTLS13, http.StatusBadGateway, textUnreachable},
		"old protocol": {good, true, tls.VersionTLS11, http.StatusBadGateway, textFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			certificate, parsed := issue(t, c.certificate)
			var requests atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				requests.Add(1)
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = &tls.Config{
				Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS10, MaxVersion: c.version,
			}
			server.StartTLS()
			t.Cleanup(server.Close)

			transport := newTransport(t, Limits{})
			transport.TLSClientConfig.RootCAs = x509.NewCertPool()
			if c.trusted {
				transport.TLSClientConfig.RootCAs.AddCert(parsed)
			}
			r := request(t, http.MethodPost, server.URL, "{}")
			if c.status == http.StatusOK {
				answer(t, Guard(transport), r)
				return
			}
			if failure := wantFailure(t, Guard(transport), r, c.status); failure.Text != c.text {
				t.Errorf("text %q, want %q (cause: %v)", failure.Text, c.text, failure.Cause)
			}
			if requests.Load() != 0 {
				t.Error("the request was sent all the same")
			}
		})
	}
}

// issue signs a certificate with a key of its own.
func issue(t *testing.T, template x509.Certificate) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(1), pkix.Name{CommonName: "upstream"}
	template.NotBefore = template.NotAfter.Add(-24 * time.Hour)
	template.IsCA, template.BasicConstraintsValid = true, true
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, parsed
}

func TestFault004NeverPlain(t *testing.T) {
	var mu sync.Mutex
	var seen []string // What each connection brought.
	server := rawserver.New(t, func(c *rawserver.Conn) {
		hello := make([]byte, 4096)
		n, _ := c.Read(hello)
		mu.Lock()
		seen = append(seen, string(hello[:n]))
		mu.Unlock()
		c.Write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	})
	r := request(t, http.MethodPost, "https://"+server.Addr()+"/v1/messages", "{}")
	failure := wantFailure(t, guarded(t), r, http.StatusBadGateway)
	if failure.Text != textUnreachable {
		t.Errorf("got %q, cause %v", failure.Text, failure.Cause)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 1 || !strings.HasPrefix(seen[0], "\x16\x03") || strings.Contains(seen[0], canary) {
		t.Errorf("the server read %q, want one TLS hello", seen)
	}
}

// Most transports use the proxy that the process's environment names. This one must not.
func TestEnvironmentIsNotRead(t *testing.T) {
	if transport := newTransport(t, Limits{}); transport.Proxy != nil {
		t.Error("there is a proxy function")
	}
}

func TestNoCompressionOfItsOwn(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Accept-Encoding"))
	}))
	t.Cleanup(server.Close)
	if _, body := answer(t, guarded(t), request(t, http.MethodGet, server.URL, "")); body != "" {
		t.Errorf("Accept-Encoding: %s", body)
	}
}

// The header's limit begins when the request is written. Until then, only the limit of a write helps.
func TestUpstreamThatStopsReading(t *testing.T) {
	server := rawserver.New(t, (*rawserver.Conn).Hang)
	transport := newTransport(t, Limits{})
	transport.DialContext = dialer(time.Minute, 50*time.Millisecond)
	r := request(t, http.MethodPost, server.URL(), strings.Repeat("x", 32<<20))
	wantFailure(t, Guard(transport), r, http.StatusGatewayTimeout)
}

func TestCancelStaysVisible(t *testing.T) {
	reason := errors.New("the reason")
	cases := map[string]error{"plain": nil, "with a cause": reason}
	for name, cause := range cases {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{})
			server := rawserver.New(t, func(c *rawserver.Conn) {
				c.ReadRequest()
				close(arrived)
				c.Hang()
			})
			ctx, cancel := context.WithCancelCause(t.Context())
			r := request(t, http.MethodPost, server.URL(), "{}").WithContext(ctx)
			go func() {
				<-arrived
				cancel(cause)
			}()
			failure := wantFailure(t, guarded(t), r, http.StatusBadGateway)
			if !errors.Is(failure, context.Canceled) || failure.Text != textCanceled {
				t.Errorf("got %q, cause %v", failure.Text, failure.Cause)
			}
			if cause != nil && !errors.Is(failure, cause) {
				t.Errorf("cause %v, want %v in it", failure.Cause, cause)
			}
		})
	}
}

// TestBodyFromMemory checks that a body in memory, whole or in pieces, is written whole, with a limit for each of its parts, and
// no further than the length that the request announces.
func TestBodyFromMemory(t *testing.T) {
	small, large := strings.Repeat("0123456789", 100), strings.Repeat("0123456789", 100<<10)
	for name, of := range map[string]func(body string) io.Reader{
		"whole": func(body string) io.Reader { return io.NopCloser(strings.NewReader(body)) },
		"in pieces": func(body string) io.Reader {
			return Pieces([]byte(body[:7]), nil, []byte(body[7:500]), []byte(body[500:]))
		},
	} {
		for _, body := range []string{small, large} {
			for _, length := range []int64{0, 10, 700, pieceBytes, int64(len(body)), int64(len(body)) + 10} {
				near, far := net.Pipe()
				got := make(chan string)
				go func() {
					all, _ := io.ReadAll(far)
					got <- string(all)
				}()
				limited := &io.LimitedReader{R: of(body), N: length}
				conn := &upstreamConn{Conn: near, limit: time.Minute}
				n, err := conn.ReadFrom(limited)
				_ = near.Close()
				want := body[:min(length, int64(len(body)))]
				if written := <-got; err != nil || n != int64(len(want)) || written != want || limited.N != length-n || conn.written.Load() != n {
					t.Errorf("%s, %d of %d bytes: wrote %d, left %d, counted %d, %v", name, length, len(body), n, limited.N, conn.written.Load(), err)
				}
			}
		}
	}
}

// TestPieces checks that a request's body in pieces arrives, and arrives again where a request is sent once more, over HTTP/1 and
// HTTP/2, and that an upstream which stops reading meets the limit.
func TestPieces(t *testing.T) {
	pieces := [][]byte{[]byte(`{"a":`), bytes.Repeat([]byte("b"), 100_000), []byte("}")}
	want := string(bytes.Join(pieces, nil))
	for _, isTLS := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %t %v", r.Proto, string(got) == want && r.ContentLength == int64(len(want)), err)
		}))
		server.EnableHTTP2 = isTLS
		transport := newTransport(t, Limits{})
		if isTLS {
			server.StartTLS()
			transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig
		} else {
			server.Start()
		}
		t.Cleanup(server.Close)
		for range 2 { // The second one uses the first one's connection.
			r := request(t, http.MethodPost, server.URL, "")
			r.Body, r.ContentLength = Pieces(pieces...), int64(len(want))
			proto := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[isTLS]
			if _, body := answer(t, Guard(transport), r); body != proto+" true <nil>" {
				t.Error(body)
			}
		}
	}
	stuck := newTransport(t, Limits{})
	stuck.DialContext = dialer(time.Minute, 50*time.Millisecond)
	r := request(t, http.MethodPost, rawserver.New(t, (*rawserver.Conn).Hang).URL(), "")
	r.Body, r.ContentLength = Pieces(bytes.Repeat([]byte("x"), 32<<20), []byte("y")), 32<<20+1
	wantFailure(t, Guard(stuck), r, http.StatusGatewayTimeout)
}
