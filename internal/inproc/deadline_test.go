package inproc_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged/internal/inproc"
)

// TestWriteDeadline writes to a client that does not read.
func TestWriteDeadline(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		set  func(set func(time.Duration)) // Before the write, at time 0.
		// later, if any, is called while the write waits, after three seconds.
		later func(set func(time.Duration))
		want  time.Duration // When the write fails.
	}{
		{"ahead", func(set func(time.Duration)) { set(5 * time.Second) }, nil, 5 * time.Second},
		{"passed", func(set func(time.Duration)) { set(-time.Second) }, nil, 0},
		{"now", func(set func(time.Duration)) { set(0) }, nil, 0},
		{"prolonged", func(set func(time.Duration)) { set(5 * time.Second) },
			func(set func(time.Duration)) { set(5 * time.Second) }, 8 * time.Second},
		{"shortened", func(set func(time.Duration)) { set(time.Hour) },
			func(set func(time.Duration)) { set(-time.Second) }, 3 * time.Second},
		{"set late", func(func(time.Duration)) {},
			func(set func(time.Duration)) { set(time.Second) }, 4 * time.Second},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			done := make(chan struct{})
			response := mustGet(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
				defer close(done)
				set := func(d time.Duration) {
					if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d)); err != nil {
						t.Error(err)
					}
				}
				c.set(set)
				if c.later != nil {
					time.AfterFunc(3*time.Second, func() { c.later(set) })
				}
				n, err := io.WriteString(w, "some text")
				if n != 4 && n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: the write returned %d, %v", c.name, n, err)
				}
				if took := time.Since(began); took != c.want {
					t.Errorf("%s: the write failed after %v, want %v", c.name, took, c.want)
				}
				set(time.Hour)
				if n, err := io.WriteString(w, "more"); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: the next write returned %d, %v: there is a gap before it", c.name, n, err)
				}
			})
			<-done
			if n, err := response.Body.Read(make([]byte, 100)); n != 0 || err != io.ErrUnexpectedEOF {
				t.Errorf("%s: the client read %d, %v", c.name, n, err)
			}
		})
	}
}

// TestWriteDeadlineKept writes to a client that is slow, but not too slow.
func TestWriteDeadlineKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		response := mustGet(t, t.Context(), func(w http.ResponseWriter, _ *http.Request) {
			for range 10 {
				if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
					t.Error(err)
				}
				if n, err := io.WriteString(w, "text"); n != 4 || err != nil {
					t.Errorf("the write returned %d, %v", n, err)
				}
			}
			_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
			if n, err := io.WriteString(w, "end."); n != 4 || err != nil {
				t.Errorf("the write without a deadline returned %d, %v", n, err)
			}
		})
		buffer := make([]byte, 4)
		for range 10 {
			<-time.After(4 * time.Second)
			if _, err := io.ReadFull(response.Body, buffer); err != nil {
				t.Error(err)
			}
		}
		<-time.After(time.Hour)
		if rest, err := io.ReadAll(response.Body); string(rest) != "end." || err != nil {
			t.Errorf("got %q, %v", rest, err)
		}
	})
}

// TestReadDeadline waits for a client that does not send.
func TestReadDeadline(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{5 * time.Second, 0, -time.Second} {
		synctest.Test(t, func(t *testing.T) {
			source, sink := io.Pipe()
			defer sink.Close()
			began := time.Now()
			response, err := inproc.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				controller := http.NewResponseController(w)
				for _, d := range []time.Duration{time.Second, time.Hour, limit} { // The last one counts.
					if err := controller.SetReadDeadline(time.Now().Add(d)); err != nil {
						t.Error(err)
					}
				}
				for range 2 {
					if n, err := r.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("the read returned %d, %v", n, err)
					}
				}
				if took := time.Since(began); took != max(limit, 0) {
					t.Errorf("the read failed after %v, want %v", took, max(limit, 0))
				}
			}), "").RoundTrip(newRequest(http.MethodPost, "http://gateway/", source))
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
		})
	}
}

// TestReadDeadlineCleared checks that a deadline leaves no timer behind.
func TestReadDeadlineCleared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source, sink := io.Pipe()
		go func() {
			<-time.After(time.Minute)
			_, _ = io.WriteString(sink, "text")
			sink.Close()
		}()
		response, err := inproc.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			controller := http.NewResponseController(w)
			_ = controller.SetReadDeadline(time.Now().Add(time.Second))
			_ = controller.SetReadDeadline(time.Time{})
			if body, err := io.ReadAll(r.Body); string(body) != "text" || err != nil {
				t.Errorf("read %q, %v", body, err)
			}
		}), "").RoundTrip(newRequest(http.MethodPost, "http://gateway/", source))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	})
}

// TestClientTimeout has the timeout of net/http's client end before and after the headers.
func TestClientTimeout(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			client := &http.Client{Timeout: time.Second, Transport: inproc.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if answers {
					_, _ = io.WriteString(w, "text")
				}
				<-r.Context().Done()
			}), "")}
			response, err := client.Get("http://gateway/")
			if answers && err == nil {
				_, err = io.ReadAll(response.Body)
				response.Body.Close()
			}
			if timeout, ok := errors.AsType[interface {
				error
				Timeout() bool
			}](err); !ok || !timeout.Timeout() {
				t.Errorf("answers: %v: got %v, want a timeout", answers, err)
			}
		})
	}
}
