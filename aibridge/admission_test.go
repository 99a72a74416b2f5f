package aibridge

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestAdmission checks, for each format, both kinds of limits: the status, Retry-After and the shape of a refusal, that
// nothing of it is recorded or goes upstream, that other users and what is passed through are served, and that it is
// counted each time and logged once a minute.
func TestAdmission(t *testing.T) {
	for format, asked := range waysToAsk() {
		for name, c := range map[string]struct {
			limits AdmissionLimits
			status int
			retry  string
			others bool // Other users are served.
		}{
			"per_minute":      {AdmissionLimits{PerMinute: 3}, 503, "20", false},
			"user_per_minute": {AdmissionLimits{UserPerMinute: 3}, 429, "20", true},
		} {
			synctest.Test(t, func(t *testing.T) {
				b := newResilient(t, ProviderOptions{Key: keyA, Admission: NewAdmission(c.limits)}, func(string, *http.Request) said { return asked.fine() })
				for range 3 {
					if w := b.send(asked.target, asked.body); w.Code != http.StatusOK {
						t.Fatalf("%s, %s: status %d", format, name, w.Code)
					}
				}
				b.up.keys()
				b.ends.take()
				b.log.Reset()
				for range 5 {
					w := b.send(asked.target, asked.body)
					asked.failureIn(t, w.Body.String())
					if w.Code != c.status || w.Header().Get("Retry-After") != c.retry {
						t.Errorf("%s, %s: status %d, Retry-After %q", format, name, w.Code, w.Header().Get("Retry-After"))
					}
				}
				if b.up.keys() != "" || b.ends.take() != "" {
					t.Errorf("%s, %s: a refused request went upstream or was recorded", format, name)
				}
				if n := b.metric(t, "admission_refusals_total", "limit="+name); n != 5 || strings.Count(b.log.String(), "refused") != 2 || strings.Count(b.log.String(), "\n") != 1 {
					t.Errorf("%s, %s: %v are counted, logged %s", format, name, n, b.log.String())
				}
				if w := b.sendAs("bob", asked.target, asked.body); (w.Code == http.StatusOK) != c.others {
					t.Errorf("%s, %s: another user got status %d", format, name, w.Code)
				}
				if w := b.send("GET /openai/v1/models", ""); w.Code != http.StatusOK {
					t.Errorf("%s, %s: what is passed through got status %d", format, name, w.Code)
				}
				b.log.Reset()
				time.Sleep(20 * time.Second)
				if w := b.send(asked.target, asked.body); w.Code != http.StatusOK {
					t.Errorf("%s, %s: later, status %d", format, name, w.Code)
				}
				time.Sleep(40 * time.Second)
				synctest.Wait()
				if log := b.log.String(); !strings.Contains(log, "refused=4") || !strings.Contains(log, "initiator_id=ada") {
					t.Errorf("%s, %s: at the end of the minute, logged %s", format, name, log)
				}
			})
		}
	}
}

// TestAdmissionOfConcurrent checks the limits of requests at a time: a place is free again when an answer has ended,
// however it did.
func TestAdmissionOfConcurrent(t *testing.T) {
	asked := waysToAsk()["messages, streamed"]
	for name, c := range map[string]struct {
		limits AdmissionLimits
		status int
	}{
		"all": {AdmissionLimits{Concurrent: 2}, 503}, "a user": {AdmissionLimits{UserConcurrent: 2}, 429},
	} {
		for ending, end := range map[string]said{"well": asked.fine(), "with an error": {status: 500}, "cut off": {status: 200, cut: true}, "unreached": {}} {
			synctest.Test(t, func(t *testing.T) {
				goOn := make(chan struct{})
				b := newResilient(t, ProviderOptions{Key: keyA, Admission: NewAdmission(c.limits), Breaker: BreakerOptions{Off: true}}, func(string, *http.Request) said {
					<-goOn
					return end
				})
				for range 3 {
					for range 2 {
						go b.send(asked.target, asked.body)
					}
					synctest.Wait()
					if w := b.send(asked.target, asked.body); w.Code != c.status || w.Header().Get("Retry-After") != "1" {
						t.Errorf("%s, %s: status %d, Retry-After %q", name, ending, w.Code, w.Header().Get("Retry-After"))
					}
					goOn <- struct{}{}
					goOn <- struct{}{}
					synctest.Wait()
				}
			})
		}
	}
}

// TestRequestsThatAreRefusedLeave checks that a request which is let in and then refused for another reason leaves its
// place.
func TestRequestsThatAreRefusedLeave(t *testing.T) {
	b := newResilient(t, ProviderOptions{Admission: NewAdmission(AdmissionLimits{UserConcurrent: 1})}, nil)
	for range 3 {
		if w := b.send("POST /anthropic/v1/messages", messagesBody); w.Code != http.StatusForbidden { // There is no key.
			t.Errorf("status %d", w.Code)
		}
		if w := b.send("POST /anthropic/v1/messages", "{"); w.Code != http.StatusBadRequest {
			t.Errorf("status %d", w.Code)
		}
	}
}
