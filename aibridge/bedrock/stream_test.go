package bedrock

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged/internal/fakebedrock"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
)

// TestPings checks that a client is sent a ping for each 15 seconds in which Bedrock says nothing, before the first event
// too, and never within an event.
func TestPings(t *testing.T) {
	event := fakebedrock.Frame{Event: `{"type":"x"}`}.Encode()
	synctest.Test(t, func(t *testing.T) {
		body, upstream := io.Pipe()
		s := newStream(body, nil)
		go func() {
			time.Sleep(40 * time.Second)
			_, _ = upstream.Write(event[:20])
			time.Sleep(10 * time.Second)
			_, _ = upstream.Write(event[20:])
			time.Sleep(14 * time.Second)
			_, _ = upstream.Write(event)
			_ = upstream.Close()
		}()
		began := time.Now()
		if exception, err := s.begin(); exception != nil || err != nil {
			t.Fatal(exception, err)
		}
		if waited := time.Since(began); waited != pingAfter {
			t.Errorf("the stream began after %s", waited)
		}
		got, err := io.ReadAll(s)
		if want := strings.Repeat(ping, 3) + strings.Repeat("event: x\ndata: {\"type\":\"x\"}\n\n", 2); string(got) != want || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		if took := time.Since(began); took != 64*time.Second {
			t.Errorf("the stream took %s", took)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestExceptionAfterPing checks that an exception that comes too late to become a status becomes an event.
func TestExceptionAfterPing(t *testing.T) {
	frame := fakebedrock.Frame{Exception: "throttlingException", Message: "m"}.Encode()
	synctest.Test(t, func(t *testing.T) {
		body, upstream := io.Pipe()
		s := newStream(body, nil)
		go func() {
			time.Sleep(pingAfter + time.Second)
			_, _ = upstream.Write(frame)
		}()
		if exception, err := s.begin(); exception != nil || err != nil {
			t.Fatal(exception, err)
		}
		got, err := io.ReadAll(s)
		if want := ping + "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"m\"}}\n\n"; string(got) != want || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		_ = s.Close()
	})
}

// TestCloseEndsRead checks that Close ends a Read that waits, and the goroutine.
func TestCloseEndsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, upstream := io.Pipe()
		s := newStream(body, nil)
		read := make(chan error)
		go func() {
			_, err := s.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-read; err == nil {
			t.Error("a Read of a closed stream has no error")
		}
		if _, err := upstream.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the body is not closed: %v", err)
		}
	})
}

// panicking is a body whose Read panics.
type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("read") }
func (panicking) Close() error             { return nil }

func TestPanicOfBodyIsAnError(t *testing.T) {
	s := newStream(panicking{}, nil)
	if _, err := s.begin(); err == nil || !strings.Contains(err.Error(), "read") {
		t.Error(err)
	}
	_ = s.Close()
}

// pieces is a body that comes in pieces of that size.
type pieces struct {
	rest []byte
	size int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(to, p.rest[:min(p.size, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

func (*pieces) Close() error { return nil }

// FuzzStream checks that whatever events frames hold, in whatever pieces these come, what a client reads as server-sent
// events is these events, and that a stream that is cut is never taken for whole.
func FuzzStream(f *testing.F) {
	f.Add(`{"type":"message_start"}`, "{\"type\":\r\n\"x\"\n}", uint16(7), uint16(20))
	f.Add("\r", "event: x\n\n", uint16(1), uint16(0))
	f.Fuzz(func(t *testing.T, first, second string, size, cut uint16) {
		events := []string{first, second}
		stream := fakebedrock.Encode(fakebedrock.Events(events...)...)
		whole, err := translate(stream, int(size)+1)
		if err != nil {
			t.Fatal(err)
		}
		var splitter sse.Splitter
		i := 0
		for event := range splitter.Feed(whole) {
			if i == len(events) {
				t.Fatalf("%q: more events than there were", whole)
			}
			if want := sameLines(events[i]); string(event.Data) != want {
				t.Fatalf("event %d: %q, want %q", i, event.Data, want)
			}
			i++
		}
		if i != len(events) {
			t.Fatalf("%q: %d events, want %d", whole, i, len(events))
		}
		for range splitter.Flush() {
			t.Fatalf("%q: an event is not ended", whole)
		}
		length := int(cut) % len(stream)
		part, err := translate(stream[:length], int(size)+1)
		if isBetween := length == 0 || length == len(fakebedrock.Frame{Event: first}.Encode()); (err == nil) != isBetween {
			t.Fatalf("cut after %d of %d bytes: %v", length, len(stream), err)
		}
		if !bytes.HasPrefix(whole, part) {
			t.Fatalf("%q is not the beginning of %q", part, whole)
		}
	})
}

// translate returns what a client gets for a stream of frames.
func translate(stream []byte, size int) ([]byte, error) {
	pool := memory.New(64 << 20)
	s := newStream(&pieces{stream, size}, pool)
	defer func() { _ = s.Close() }()
	if exception, err := s.begin(); exception != nil || err != nil {
		return nil, err
	}
	return io.ReadAll(s)
}

// sameLines returns data with the line ends that server-sent events have.
func sameLines(data string) string {
	return strings.ReplaceAll(strings.ReplaceAll(data, "\r\n", "\n"), "\r", "\n")
}
