package main

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
)

// TestLeave is unready at once, and waits for balancers, or until a listener fails.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		for _, test := range []struct{ delay, fails, want time.Duration }{
			{0, 0, 0}, {time.Minute, 0, time.Minute}, {time.Minute, time.Second, time.Second},
		} {
			var draining atomic.Bool
			var running sync.WaitGroup
			if test.fails > 0 {
				running.Go(func() {
					time.Sleep(test.fails)
					if !draining.Load() {
						t.Error("it is still ready")
					}
					failed <- errors.New("it fails")
				})
			}
			began := time.Now()
			if got := leave(&draining, test.delay, failed, slog.Logger{}); (got != nil) != (test.fails > 0) || time.Since(began) != test.want || !draining.Load() {
				t.Errorf("%+v: %v after %v", test, got, time.Since(began))
			}
			running.Wait()
		}
	})
}

// TestDrain ends a gateway for which balancers need time: it is not ready at once, serves what still comes, and lets a
// request that runs end.
func TestDrain(t *testing.T) {
	upstream, a := newCannedUpstream(t), newApart(t)
	config := configFile(t, providerText("main", upstream.URL))
	token := newToken(t, a.data)
	process := programHere(t, nil, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", a.data, "--config", config, "--drain-delay", "2s")
	r := startProcess(t, process)
	r.data = a.data
	r.becomes(t, 200, "ready")
	waiting := make(chan string)
	go func() {
		_, answer := r.ask(t, "/main/v1/messages", token, strings.Replace(helloBody, "Hello", "wait", 1))
		waiting <- answer
	}()
	<-upstream.arrived
	check(t, process.Process.Signal(syscall.SIGTERM))
	began := time.Now()
	for {
		response, err := http.Get(r.base + "/readyz")
		check(t, err)
		answer, err := io.ReadAll(response.Body)
		check(t, errors.Join(err, response.Body.Close()))
		if response.StatusCode == 503 {
			if string(answer) != "not ready: it is shutting down\n" {
				t.Errorf("%s", answer)
			}
			break
		}
		if time.Since(began) > time.Second {
			t.Fatal("it is ready though it is told to stop")
		}
	}
	if status, answer := r.ask(t, "/main/v1/messages", token, helloBody); status != 200 {
		t.Errorf("before balancers know: %d %s", status, answer)
	}
	for {
		status, answer := r.ask(t, "/main/v1/messages", token, helloBody)
		if status == 503 && strings.Contains(answer, "shutting down") {
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d %s", status, answer)
		}
	}
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("it serves no longer after %v", took)
	}
	close(upstream.release)
	if answer := <-waiting; answer != fixedAnswer {
		t.Errorf("a request that was running got %q", answer)
	}
	check(t, process.Wait())
}
