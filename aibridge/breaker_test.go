package aibridge

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBreaker checks, for each format and each way to fail, that requests are refused once there are enough failures, in
// the shape of the API and with the time that is left, and that they go upstream again when it is back.
func TestBreaker(t *testing.T) {
	for format, asked := range waysToAsk() {
		for name, failure := range map[string]said{
			"no answer": {}, "500": {status: 500}, "502": {status: 502}, "503": {status: 503}, "504": {status: 504}, "529": {status: 529},
			"cut off": {status: 200, header: http.Header{"Content-Type": {asked.mediaType}}, body: asked.answer[:len(asked.answer)/3], cut: true},
		} {
			synctest.Test(t, func(t *testing.T) {
				answer := failure
				b := newResilient(t, ProviderOptions{Key: keyA, Breaker: BreakerOptions{Failures: 4}}, func(string, *http.Request) said { return answer })
				for range 4 {
					b.send(asked.target, asked.body)
				}
				if got := b.up.keys(); strings.Count(got, keyA) != 4 {
					t.Fatalf("%s, %s: %d requests went upstream", format, name, strings.Count(got, keyA))
				}
				b.ends.take()
				time.Sleep(4 * time.Second)
				w := b.send(asked.target, asked.body)
				asked.failureIn(t, w.Body.String())
				if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "6" || b.up.keys() != "" {
					t.Errorf("%s, %s: status %d, Retry-After %q, %s", format, name, w.Code, w.Header().Get("Retry-After"), w.Body)
				}
				if got := b.ends.take(); got != hintA+" overloaded" {
					t.Errorf("%s, %s: ended as %q", format, name, got)
				}
				_, path, _ := strings.Cut(asked.target[1:], "/")
				provider, route, _ := strings.Cut(path, "/")
				labels := []string{"provider=" + provider, "route=/" + route}
				state, trips, rejects := b.metric(t, "circuit_breaker_state", labels...), b.metric(t, "circuit_breaker_trips_total", labels...), b.metric(t, "circuit_breaker_rejects_total", labels...)
				if state != 1 || trips != 1 || rejects != 1 || strings.Count(b.log.String(), "an upstream fails") != 1 {
					t.Errorf("%s, %s: state %v, %v trips, %v rejects, logged %s", format, name, state, trips, rejects, b.log.String())
				}
				if w := b.send("GET /"+provider+"/v1/models", ""); w.Code == http.StatusServiceUnavailable && failure.status != 503 {
					t.Errorf("%s, %s: another route is refused, too", format, name)
				}
				b.up.keys()

				time.Sleep(6*time.Second + 1)
				answer = asked.fine()
				for range 2 {
					if w := b.send(asked.target, asked.body); w.Code != http.StatusOK || b.up.keys() != keyA {
						t.Errorf("%s, %s: when it is back, status %d", format, name, w.Code)
					}
				}
			})
		}
	}
}

// TestBreakerStaysClosed checks what says nothing of an upstream: other statuses, clients that leave, and keys that are
// refused, in whatever number; and that it can be switched off.
func TestBreakerStaysClosed(t *testing.T) {
	asked := waysToAsk()["messages"]
	for name, answer := range map[string]said{"400": {status: 400}, "403": {status: 403}, "404": {status: 404}, "413": {status: 413}, "a limit": {status: 429, body: `{"error":{"message":"request too large"}}`}} {
		b := newResilient(t, ProviderOptions{Key: keyA, Breaker: BreakerOptions{Failures: 1}}, func(string, *http.Request) said { return answer })
		for range 20 {
			if w := b.send(asked.target, asked.body); w.Code != answer.status {
				t.Fatalf("%s: status %d", name, w.Code)
			}
		}
	}
	for name, answer := range map[string]said{"a redirect": {status: 307, header: http.Header{"Location": {"https://example.com/"}}}, "a switch of protocols": {status: 101}} {
		b := newResilient(t, ProviderOptions{Key: keyA, Breaker: BreakerOptions{Failures: 1}}, func(string, *http.Request) said { return answer })
		for range 20 {
			if w := b.send(asked.target, asked.body); w.Code != 502 || b.up.keys() != keyA {
				t.Fatalf("%s: status %d", name, w.Code)
			}
		}
	}
	b := newResilient(t, ProviderOptions{Key: keyA, Breaker: BreakerOptions{Off: true}}, func(string, *http.Request) said { return said{status: 500} })
	for range 50 {
		if w := b.send(asked.target, asked.body); w.Code != 500 {
			t.Fatalf("it is off: status %d", w.Code)
		}
	}
	keys := make([]Key, 30)
	for i := range keys {
		keys[i].Secret = strings.Repeat("k", i+1)
	}
	b = newResilient(t, ProviderOptions{Keys: keys, Breaker: BreakerOptions{Failures: 1}}, func(string, *http.Request) said { return said{status: 401} })
	b.send(asked.target, asked.body)
	if n := b.metric(t, "circuit_breaker_state", "provider=anthropic", "route=/v1/messages"); n != 0 || b.metric(t, "key_pool_state", "provider=anthropic", "state=unauthorized") != 30 {
		t.Errorf("refused keys opened the breaker: %v", n)
	}
}
