package breaker

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

var errUnreachable = errors.New("unreachable")

// send sends a request that is answered with a status, or not at all if it is zero. It reports whether it was sent.
func send(t *testing.T, ctx context.Context, b *Breaker, status int) bool {
	t.Helper()
	called := false
	response, err := b.Send(ctx, func() (*http.Response, error) {
		called = true
		if status == 0 {
			return nil, errUnreachable
		}
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	})
	switch open, isOpen := errors.AsType[*Open](err); {
	case isOpen && (called || open.For <= 0):
		t.Fatalf("it was called: %t, and refused for %s", called, open.For)
	case isOpen:
	case status == 0 && !errors.Is(err, errUnreachable), status != 0 && (err != nil || response.StatusCode != status):
		t.Fatalf("status %d came as %v, %v", status, response, err)
	}
	return called
}

// opened returns a breaker that has just opened.
func opened(t *testing.T, options Options) *Breaker {
	t.Helper()
	b := newBreaker(options)
	for range options.withDefaults().Failures {
		if !send(t, t.Context(), b, 500) {
			t.Fatal("the breaker is open too early")
		}
	}
	if got := b.Counts(); got != (Counts{State: IsOpen, Trips: 1}) || !b.HasOpened() || b.HasOpened() {
		t.Fatalf("%+v", got)
	}
	return b
}

// TestOpensInARow checks that an upstream which dies under load opens the breaker at once, though most requests before were
// fine, and that failures among successes do not.
func TestOpensInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(Options{Failures: 4})
		for range 10_000 {
			send(t, t.Context(), b, 200)
		}
		for range 50 {
			for range 7 {
				send(t, t.Context(), b, 503)
			}
			send(t, t.Context(), b, 200)
		}
		for range 7 {
			send(t, t.Context(), b, 0)
		}
		if got := b.Counts(); got.State != Closed {
			t.Errorf("%+v", got)
		}
		send(t, t.Context(), b, 404) // It says nothing, and so it does not end the row.
		send(t, t.Context(), b, 0)
		if got := b.Counts(); got.State != IsOpen {
			t.Errorf("%+v", got)
		}
	})
}

// TestOpens checks what opens a breaker: failures of any kind, if there are enough and they are at least half of all.
func TestOpens(t *testing.T) {
	for name, c := range map[string]struct {
		act  func(t *testing.T, b *Breaker)
		want State
	}{
		"no answer":       {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 0) }, IsOpen},
		"500":             {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 500) }, IsOpen},
		"503":             {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 503) }, IsOpen},
		"504":             {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 504) }, IsOpen},
		"529":             {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 529) }, IsOpen},
		"400":             {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 400) }, Closed},
		"401":             {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 401) }, Closed},
		"429":             {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 429) }, Closed},
		"200":             {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 200) }, Closed},
		"the client left": {func(t *testing.T, b *Breaker) { send(t, ended(t), b, 0) }, Closed},
		"excused": {func(t *testing.T, b *Breaker) {
			if _, err := b.Send(t.Context(), func() (*http.Response, error) { return nil, Excuse(errUnreachable) }); !errors.Is(err, errUnreachable) {
				t.Error(err)
			}
		}, Closed},
		"half of all": {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 200); send(t, t.Context(), b, 500) }, IsOpen},
		"less than half": {func(t *testing.T, b *Breaker) {
			send(t, t.Context(), b, 200)
			send(t, t.Context(), b, 200)
			send(t, t.Context(), b, 500)
		}, Closed},
		"half, beside 4xx": {func(t *testing.T, b *Breaker) {
			send(t, t.Context(), b, 429)
			send(t, t.Context(), b, 404)
			send(t, t.Context(), b, 500)
		}, IsOpen},
		"streams broke off": {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 200); b.BrokeOff() }, IsOpen},
		"too slow":          {func(t *testing.T, b *Breaker) { send(t, t.Context(), b, 500); time.Sleep(4 * time.Second) }, Closed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(Options{})
				for range 10 {
					c.act(t, b)
				}
				if got := b.Counts().State; got != c.want {
					t.Errorf("state %v, want %v", got, c.want)
				}
			})
		})
	}
}

func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestSlowFailures checks that requests count which take longer to fail than the window is: timeouts do.
func TestSlowFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(Options{Failures: 5})
		for range 5 {
			go func() {
				_, _ = b.Send(t.Context(), func() (*http.Response, error) {
					time.Sleep(10 * time.Minute)
					return nil, errUnreachable
				})
			}()
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if b.Counts().Trips != 1 {
			t.Error("the breaker did not open")
		}
	})
}

// TestRecovers checks that an open breaker refuses with the time that is left, lets one request try after that, and what
// comes of that.
func TestRecovers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		want   State
	}{
		"it is back": {200, Closed}, "it is not": {500, IsOpen}, "it is unreachable": {0, IsOpen}, "the request was wrong": {400, HalfOpen},
		"a limit": {429, HalfOpen},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := opened(t, Options{Open: 8 * time.Second})
				time.Sleep(3 * time.Second)
				_, err := b.Send(t.Context(), func() (*http.Response, error) { t.Error("it was sent"); return nil, nil })
				if open, ok := errors.AsType[*Open](err); !ok || open.For != 5*time.Second {
					t.Fatal(err)
				}
				time.Sleep(5*time.Second + 1)
				if !send(t, t.Context(), b, c.status) {
					t.Fatal("the request that tries was not sent")
				}
				counts := b.Counts()
				if counts.State != c.want || counts.Rejects != 1 {
					t.Errorf("%+v, want the state %v", counts, c.want)
				}
				if sent := send(t, t.Context(), b, 200); sent != (c.want != IsOpen) {
					t.Errorf("the next request was sent: %t", sent)
				}
			})
		})
	}
}

// TestOneTries checks that only one request at a time tries the upstream, that a client that leaves frees its place, and
// that late outcomes of earlier requests decide nothing.
func TestOneTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(Options{Failures: 2, Open: time.Second})
		slow := func(ctx context.Context, answer <-chan int) {
			_, _ = b.Send(ctx, func() (*http.Response, error) {
				select {
				case status := <-answer:
					return &http.Response{StatusCode: status, Body: http.NoBody}, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			})
		}
		failing, working := make(chan int), make(chan int)
		go slow(t.Context(), failing)
		go slow(t.Context(), working)
		synctest.Wait()
		send(t, t.Context(), b, 500)
		send(t, t.Context(), b, 500)
		time.Sleep(time.Second + 1)
		ctx, leave := context.WithCancel(t.Context())
		go slow(ctx, nil) // This one tries.
		synctest.Wait()
		working <- 200
		failing <- 500
		synctest.Wait()
		b.BrokeOff()
		if got := b.Counts().State; got != HalfOpen {
			t.Fatalf("an earlier request made the state %v", got)
		}
		if send(t, t.Context(), b, 200) {
			t.Fatal("a second request tries")
		}
		leave()
		synctest.Wait()
		if !send(t, t.Context(), b, 200) || b.Counts().State != Closed {
			t.Error("the client that left did not free its place")
		}
	})
}

// TestPlaces checks that a breaker is kept for its place while its options and address are the same.
func TestPlaces(t *testing.T) {
	var breakers Breakers
	place := Place{Provider: "p", Route: "/r", Address: "https://a"}
	first := breakers.Of(place, Options{})
	if breakers.Of(place, Options{}) != first {
		t.Error("the breaker was not kept")
	}
	if breakers.Of(Place{Provider: "p", Route: "/s", Address: "https://a"}, Options{}) == first {
		t.Error("two routes have one breaker")
	}
	if breakers.Of(place, Options{Failures: 3}) == first {
		t.Error("a breaker with other options was kept")
	}
	moved := place
	moved.Address = "https://b"
	breakers.Of(moved, Options{})
	if len(breakers.known) != 1 {
		t.Errorf("%d breakers are remembered after the provider has moved", len(breakers.known))
	}
	if off := breakers.Of(place, Options{Off: true}); off != nil || off.HasOpened() || !send(t, t.Context(), off, 500) {
		t.Error("there is a breaker though it is off")
	}
}

// TestClosedAllocatesNothing checks that a closed breaker costs a request nothing.
func TestClosedAllocatesNothing(t *testing.T) {
	b, response := newBreaker(Options{}), &http.Response{StatusCode: 200, Body: http.NoBody}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := b.Send(t.Context(), func() (*http.Response, error) { return response, nil }); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestKeep forgets the breakers of a provider that is gone, and keeps those of the others.
func TestKeep(t *testing.T) {
	var breakers Breakers
	stays, goes := Place{Provider: "stays"}, Place{Provider: "goes"}
	before, gone := breakers.Of(stays, Options{}), breakers.Of(goes, Options{})
	breakers.Keep([]string{"stays"})
	if breakers.Of(stays, Options{}) != before || breakers.Of(goes, Options{}) == gone {
		t.Error("the wrong one was forgotten")
	}
}
