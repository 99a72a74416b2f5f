package inproc_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/inproc"
)

type named struct {
	name      string
	transport http.RoundTripper
}

// transports returns the ways to call a handler; the one over loopback is for comparison.
func transports(b *testing.B, handler http.Handler) []named {
	server := httptest.NewServer(handler)
	b.Cleanup(server.Close)
	network := &http.Transport{DisableCompression: true}
	b.Cleanup(network.CloseIdleConnections)
	toServer := roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		r.URL.Host = server.Listener.Addr().String()
		return network.RoundTrip(r)
	})
	return []named{{"in process", inproc.New(handler, "")}, {"loopback", toServer}}
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// BenchmarkRequest sends 1 KB and receives 1 KB.
func BenchmarkRequest(b *testing.B) {
	text := strings.Repeat("x", 1<<10)
	for _, c := range transports(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, text)
	})) {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				response, err := c.transport.RoundTrip(newRequest(http.MethodPost, "http://gateway/", strings.NewReader(text)))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
		})
	}
}

// BenchmarkEvent streams events of 200 bytes, each flushed and read as it comes.
func BenchmarkEvent(b *testing.B) {
	event := []byte(strings.Repeat("x", 200))
	for _, c := range transports(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		controller := http.NewResponseController(w)
		for {
			if _, err := w.Write(event); err != nil {
				return
			}
			if err := controller.Flush(); err != nil {
				return
			}
		}
	})) {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			response, err := c.transport.RoundTrip(newRequest(http.MethodGet, "http://gateway/", nil))
			if err != nil {
				b.Fatal(err)
			}
			buffer := make([]byte, len(event))
			for b.Loop() {
				if _, err := io.ReadFull(response.Body, buffer); err != nil {
					b.Fatal(err)
				}
			}
			response.Body.Close()
		})
	}
}
