package aibridge

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// refusedDial is the error of a connection that was refused.
func refusedDial() error {
	return fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
}

func retryAfter(wait string) http.Header { return http.Header{"Retry-After": {wait}} }

// inTurn returns an upstream's answers: these, and then a fine one for ever.
func inTurn(fine said, answers ...said) func(string, *http.Request) said {
	n := 0
	return func(string, *http.Request) said {
		n++
		if n <= len(answers) {
			return answers[n-1]
		}
		return fine
	}
}

// TestRetries checks, for each format and each way not to take a request, that it is sent again after the right pause, as the
// same bytes, and that the client and the record show only the answer that it got then.
func TestRetries(t *testing.T) {
	limited := `{"error":{"type":"rate_limit_error","message":"slow down"}}`
	for format, asked := range waysToAsk() {
		for name, c := range map[string]struct {
			answers     []said
			keys        []Key // Nil: keyA.
			header      []string
			least, most time.Duration
			asked, hint string
		}{
			"503 with a wait":    {answers: []said{{status: 503, header: retryAfter("3")}}, least: 3 * time.Second, most: 3 * time.Second, asked: keyA + " " + keyA, hint: hintA},
			"503 with a date":    {answers: []said{{status: 503, header: retryAfter("Sat, 01 Jan 2000 00:00:04 GMT")}}, least: 4 * time.Second, most: 4 * time.Second, asked: keyA + " " + keyA, hint: hintA},
			"503 without":        {answers: []said{{status: 503}}, least: firstPause / 2, most: firstPause, asked: keyA + " " + keyA, hint: hintA},
			"529 in ms":          {answers: []said{{status: 529, header: http.Header{"Retry-After-Ms": {"1500"}}}}, least: 1500 * time.Millisecond, most: 1500 * time.Millisecond, asked: keyA + " " + keyA, hint: hintA},
			"529 and its limits": {answers: []said{{status: 529, header: http.Header{"Anthropic-Ratelimit-Unified-Reset": {"3600"}}}}, least: firstPause / 2, most: firstPause, asked: keyA + " " + keyA, hint: hintA},
			"529 three times":    {answers: []said{{status: 529}, {status: 529}, {status: 529}}, least: 7 * firstPause / 2, most: 7 * firstPause, asked: keyA + " " + keyA + " " + keyA + " " + keyA, hint: hintA},
			"503 that goes on":   {answers: []said{{status: 503, body: "x", silent: true}}, least: firstPause / 2, most: firstPause + longestRefusal, asked: keyA + " " + keyA, hint: hintA},
			"refused":            {answers: []said{{err: refusedDial()}}, least: firstPause / 2, most: firstPause, asked: keyA + " " + keyA, hint: hintA},
			"429 with a wait":    {answers: []said{{status: 429, body: limited, header: retryAfter("2")}}, least: 2 * time.Second, most: 2 * time.Second, asked: keyA + " " + keyA, hint: hintA},
			"429 without":        {answers: []said{{status: 429, body: limited}}, least: 5 * time.Second, most: 5 * time.Second, asked: keyA + " " + keyA, hint: hintA}, // As long as the key rests.
			"429, then 503":      {answers: []said{{status: 429, body: limited, header: retryAfter("2")}, {status: 503, header: retryAfter("1")}}, least: 3 * time.Second, most: 3 * time.Second, asked: keyA + " " + keyA + " " + keyA, hint: hintA},
			"429, another key":   {answers: []said{{status: 429, body: limited, header: retryAfter("2")}}, keys: threeKeys(), asked: keyA + " " + keyB, hint: hintB},
			"429, all keys": {
				answers: []said{{status: 429, body: limited, header: retryAfter("9")}, {status: 429, body: limited, header: retryAfter("2")}, {status: 429, body: limited, header: retryAfter("8")}},
				keys:    threeKeys(), least: 2 * time.Second, most: 2 * time.Second, asked: keyA + " " + keyB + " " + keyC + " " + keyB, hint: hintB,
			},
			"503, several keys": {answers: []said{{status: 503, header: retryAfter("1")}}, keys: threeKeys(), least: time.Second, most: time.Second, asked: keyA + " " + keyB, hint: hintB},
		} {
			synctest.Test(t, func(t *testing.T) {
				keys := c.keys
				if keys == nil {
					keys = []Key{{Secret: keyA}}
				}
				b := newResilient(t, ProviderOptions{Keys: keys, Retries: RetryOptions{Attempts: 3}}, inTurn(asked.fine(), c.answers...))
				began := time.Now()
				w := b.send(asked.target, asked.body, c.header...)
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("%s, %s: it took %s", format, name, took)
				}
				if w.Code != http.StatusOK || w.Body.String() != asked.answer || w.Header().Get("Retry-After") != "" {
					t.Errorf("%s, %s: status %d, %v, body %s", format, name, w.Code, w.Header(), w.Body)
				}
				for _, sent := range b.up.asked {
					if _, body, _ := strings.Cut(sent, " "); body != asked.body {
						t.Errorf("%s, %s: sent %q", format, name, body)
					}
				}
				if got := b.up.keys(); got != c.asked {
					t.Errorf("%s, %s: asked with %s", format, name, got)
				}
				if got := b.ends.take(); got != c.hint {
					t.Errorf("%s, %s: ended as %q", format, name, got)
				}
			})
		}
	}
}

// TestRetriesNot checks what is not sent again: the answer reaches the client at once and as it came.
func TestRetriesNot(t *testing.T) {
	for format, asked := range waysToAsk() {
		for name, c := range map[string]struct {
			answer said
			off    bool
		}{
			"off":                {said{status: 503}, true},
			"off, refused":       {said{err: refusedDial()}, true},
			"400":                {said{status: 400, body: `{"error":{"message":"bad"}}`}, false},
			"401":                {said{status: 401}, false},
			"403":                {said{status: 403}, false},
			"408":                {said{status: 408}, false},
			"409":                {said{status: 409}, false},
			"500":                {said{status: 500}, false},
			"502":                {said{status: 502, header: retryAfter("1")}, false},
			"504":                {said{status: 504, header: retryAfter("1")}, false},
			"no answer":          {said{}, false},
			"reset":              {said{err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}, false},
			"time ran out":       {said{err: context.DeadlineExceeded}, false},
			"too long a wait":    {said{status: 503, header: retryAfter("11")}, false},
			"too long a limit":   {said{status: 429, header: retryAfter("60")}, false},
			"no credit":          {said{status: 429, body: `{"error":{"code":"insufficient_quota"}}`}, false},
			"no credit, 402":     {said{status: 402}, false},
			"too large":          {said{status: 429, body: `{"error":{"message":"Request too large for gpt-x"}}`, header: retryAfter("1")}, false},
			"told not to":        {said{status: 503, header: http.Header{"Retry-After": {"1"}, "X-Should-Retry": {"false"}}}, false},
			"a wait that is odd": {said{status: 503, header: retryAfter("99999999999999")}, false},
		} {
			synctest.Test(t, func(t *testing.T) {
				options := ProviderOptions{Key: keyA, Retries: RetryOptions{Attempts: 3}}
				if c.off {
					options.Retries = RetryOptions{}
				}
				b := newResilient(t, options, func(string, *http.Request) said { return c.answer })
				began := time.Now()
				w := b.send(asked.target, asked.body)
				if took := time.Since(began); took != 0 {
					t.Errorf("%s, %s: it took %s", format, name, took)
				}
				if got := b.up.keys(); got != keyA {
					t.Errorf("%s, %s: asked with %s", format, name, got)
				}
				if c.answer.status != 0 && (w.Code != c.answer.status || w.Body.String() != c.answer.body || w.Header().Get("Retry-After") != c.answer.header.Get("Retry-After")) {
					t.Errorf("%s, %s: status %d, %s", format, name, w.Code, w.Body)
				}
				if c.answer.status == 0 && w.Code < 502 {
					t.Errorf("%s, %s: status %d", format, name, w.Code)
				}
			})
		}
	}
}

// TestRetriesEnd checks that the last answer reaches the client as it came when all tries are used up.
func TestRetriesEnd(t *testing.T) {
	for format, asked := range waysToAsk() {
		synctest.Test(t, func(t *testing.T) {
			answer := said{status: 529, body: `{"error":{"message":"overloaded"}}`, header: retryAfter("1")}
			b := newResilient(t, ProviderOptions{Key: keyA, Retries: RetryOptions{Attempts: 2}}, func(string, *http.Request) said { return answer })
			began := time.Now()
			w := b.send(asked.target, asked.body)
			if took := time.Since(began); took != 2*time.Second || w.Code != 529 || w.Body.String() != answer.body || w.Header().Get("Retry-After") != "1" {
				t.Errorf("%s: after %s status %d, %v, %s", format, took, w.Code, w.Header(), w.Body)
			}
			if got := strings.Count(b.up.keys(), keyA); got != 3 {
				t.Errorf("%s: asked %d times", format, got)
			}
			if got := b.ends.take(); got != hintA+" overloaded" {
				t.Errorf("%s: ended as %q", format, got)
			}
		})
	}
}

// TestRetriesOfOwnKeys checks that a caller's own key is asked again, and no other one.
func TestRetriesOfOwnKeys(t *testing.T) {
	for format, asked := range waysToAsk() {
		synctest.Test(t, func(t *testing.T) {
			b := newResilient(t, ProviderOptions{Keys: threeKeys(), Retries: RetryOptions{Attempts: 1}}, inTurn(asked.fine(), said{status: 429, header: retryAfter("2")}))
			method, path, _ := strings.Cut(asked.target, " ")
			r := httptest.NewRequest(method, path, strings.NewReader(asked.body))
			r.Header.Set("Authorization", "Bearer own-key-0123456789")
			w := httptest.NewRecorder()
			began := time.Now()
			b.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), Caller{Actor: Actor{ID: "ada"}, Credential: CredentialBYOK})))
			if took := time.Since(began); took != 2*time.Second || w.Code != 200 {
				t.Errorf("%s: after %s status %d %s", format, took, w.Code, w.Body)
			}
			if got := b.up.keys(); got != "own-key-0123456789 own-key-0123456789" {
				t.Errorf("%s: asked with %s", format, got)
			}
		})
	}
}

// TestRetriesOfOneWhoLeft checks that nothing is sent for a client that leaves during the pause.
func TestRetriesOfOneWhoLeft(t *testing.T) {
	for format, asked := range waysToAsk() {
		for name, answer := range map[string]said{"503": {status: 503, header: retryAfter("9")}, "refused": {err: refusedDial()}} {
			synctest.Test(t, func(t *testing.T) {
				b := newResilient(t, ProviderOptions{Key: keyA, Retries: RetryOptions{Attempts: 3}}, func(string, *http.Request) said { return answer })
				method, path, _ := strings.Cut(asked.target, " ")
				ctx, leave := context.WithCancel(AsActor(t.Context(), Actor{ID: "ada"}))
				time.AfterFunc(100*time.Millisecond, leave)
				r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(asked.body))
				began := time.Now()
				func() {
					defer func() { _ = recover() }() // The answer to a client that left may break off.
					b.ServeHTTP(httptest.NewRecorder(), r)
				}()
				if took := time.Since(began); took > 200*time.Millisecond {
					t.Errorf("%s, %s: it took %s", format, name, took)
				}
				if got := b.up.keys(); got != keyA {
					t.Errorf("%s, %s: asked with %s", format, name, got)
				}
			})
		}
	}
}

// TestRetriesWithABreaker checks that each try counts for the breaker, and that none is made while it is open.
func TestRetriesWithABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newResilient(t, ProviderOptions{
			Key: keyA, Retries: RetryOptions{Attempts: 5}, Breaker: BreakerOptions{Failures: 3},
		}, func(string, *http.Request) said { return said{status: 503} })
		w := b.send("POST /openai/v1/responses", responsesBody)
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "left alone") {
			t.Errorf("status %d, %v, %s", w.Code, w.Header(), w.Body)
		}
		if got := strings.Count(b.up.keys(), keyA); got != 3 {
			t.Errorf("asked %d times", got)
		}
	})
}

// TestRetryOptions checks that options which cannot be are refused.
func TestRetryOptions(t *testing.T) {
	for _, options := range []RetryOptions{{Attempts: -1}, {Attempts: 11}, {MaxWait: -1}} {
		if _, err := NewOpenAIProvider("p", ProviderOptions{Retries: options}); err == nil || !strings.Contains(err.Error(), `provider "p": retries: `) {
			t.Errorf("%+v: %v", options, err)
		}
	}
}
