package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink is a writer whose Writes a test can hold up, let go, and make fail.
type sink struct {
	mu      sync.Mutex
	written bytes.Buffer
	writes  int
	failing bool
	most    int           // How many bytes one Write takes, if above zero; a longer Write fails after these.
	held    chan struct{} // Not nil: a Write waits for it.
}

var errSink = errors.New("no space left")

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held != nil {
		<-held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.failing {
		return 0, errSink
	}
	if s.most > 0 && len(p) > s.most {
		n, _ := s.written.Write(p[:s.most])
		return n, errSink
	}
	return s.written.Write(p)
}

func (s *sink) set(change func(*sink)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written.String()
}

func put(t *testing.T, b *lineBuffer, line string) {
	t.Helper()
	if n, err := io.WriteString(b, line); n != len(line) || err != nil {
		t.Errorf("Write(%q) = %d, %v", line, n, err)
	}
}

func noticeOf(dropped uint64) []byte { return fmt.Appendf(nil, "%d dropped\n", dropped) }

// TestLinesGatherAndAreWrittenSoon checks that lines which come together are written together, each within a tenth of a
// second.
func TestLinesGatherAndAreWrittenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		b := newLineBuffer(s, lineBufferOptions{})
		defer b.close()
		for i := range 3 {
			put(t, b, fmt.Sprintf("a%d\n", i))
		}
		time.Sleep(100 * time.Millisecond)
		put(t, b, "b\n")
		time.Sleep(100 * time.Millisecond)
		if got := s.text(); got != "a0\na1\na2\nb\n" || s.writes != 2 {
			t.Errorf("%q in %d writes", got, s.writes)
		}
		put(t, b, "c\n")
		b.hurry()
		synctest.Wait()
		if got := s.text(); !strings.HasSuffix(got, "c\n") {
			t.Errorf("in a hurry, but not written: %q", got)
		}
	})
}

// TestLinesAreWrittenBeforeMuchWaits checks that lines are written at once when they fill half the limit.
func TestLinesAreWrittenBeforeMuchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		b := newLineBuffer(s, lineBufferOptions{limit: 10})
		defer b.close()
		put(t, b, "1234\n")
		put(t, b, "5\n")
		synctest.Wait()
		if got := s.text(); got != "1234\n5\n" {
			t.Errorf("%q", got)
		}
	})
}

// TestFault116LinesAreDroppedAndCounted holds up the sink: lines wait up to the limit, further ones are dropped, and
// one line at their place says how many.
func TestFault116LinesAreDroppedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{held: make(chan struct{})}
		b := newLineBuffer(s, lineBufferOptions{limit: 8, notice: noticeOf})
		put(t, b, "out\n")
		b.hurry()
		synctest.Wait() // The line is in a Write now.
		for _, line := range []string{"one\n", "two\n", "three\n", "4\n"} {
			put(t, b, line)
		}
		put(t, b, "longer than what may wait\n")
		if got := b.droppedTotal(); got != 3 {
			t.Errorf("%d dropped", got)
		}
		held := s.held
		s.set(func(s *sink) { s.held = nil })
		close(held)
		synctest.Wait()
		put(t, b, "last\n")
		b.close()
		if got, want := s.text(), "out\none\ntwo\n3 dropped\nlast\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		put(t, b, "too late\n")
		if got := b.droppedTotal(); got != 4 {
			t.Errorf("%d dropped with one that came after the end", got)
		}
	})
}

// TestFault116LinesStayWhole has a full disk that takes only a piece at a time: the lines stay whole.
func TestFault116LinesStayWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{most: 3}
		b := newLineBuffer(s, lineBufferOptions{})
		put(t, b, "first line\n")
		time.Sleep(150 * time.Millisecond)
		put(t, b, "second line\n")
		if got := s.text(); got != "first " {
			t.Errorf("%q", got)
		}
		s.set(func(s *sink) { s.failing = true })
		time.Sleep(time.Second)
		s.set(func(s *sink) { s.failing, s.most = false, 0 })
		time.Sleep(200 * time.Millisecond)
		b.close()
		if got := s.text(); got != "first line\nsecond line\n" {
			t.Errorf("%q", got)
		}
	})
}

// TestFault116RefusedLinesAreCounted has a sink that refuses everything, as a full disk does: lines count as dropped
// after two seconds, one line says so once the sink works again, and its own loss is not forgotten either.
func TestFault116RefusedLinesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{failing: true}
		b := newLineBuffer(s, lineBufferOptions{notice: noticeOf})
		put(t, b, "one\n")
		put(t, b, "two\n")
		time.Sleep(lineKept - 100*time.Millisecond)
		if got := b.droppedTotal(); got != 0 {
			t.Errorf("%d dropped at once", got)
		}
		time.Sleep(time.Second)
		if got := b.droppedTotal(); got != 2 {
			t.Errorf("%d dropped, want 2", got)
		}
		put(t, b, "three\n")
		time.Sleep(lineKept + time.Second)
		if got := b.droppedTotal(); got != 3 {
			t.Errorf("%d dropped, want 3", got)
		}
		s.set(func(s *sink) { s.failing = false })
		put(t, b, "four\n")
		b.close()
		if got, want := s.text(), "four\n3 dropped\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestFault116TornLineIsFinished has a sink that takes half a line and refuses the rest for a minute: the line is
// finished, those behind it are dropped and counted.
func TestFault116TornLineIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{most: 3}
		b := newLineBuffer(s, lineBufferOptions{notice: noticeOf})
		put(t, b, "first line\n")
		put(t, b, "second line\n")
		time.Sleep(50 * time.Millisecond)
		s.set(func(s *sink) { s.failing = true })
		for range 30 {
			put(t, b, "another line\n")
			time.Sleep(2 * time.Second)
		}
		if got := b.droppedTotal(); got < 30 {
			t.Errorf("%d dropped", got)
		}
		s.set(func(s *sink) { s.failing, s.most = false, 0 })
		time.Sleep(time.Second)
		put(t, b, "last\n")
		b.close()
		if got, want := s.text(), fmt.Sprintf("first line\n%d dropped\nlast\n", b.droppedTotal()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestFault116CloseIsBounded closes a buffer whose sink hangs, and one whose sink fails.
func TestFault116CloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, s := range map[string]*sink{"hangs": {held: make(chan struct{})}, "fails": {failing: true}} {
			b := newLineBuffer(s, lineBufferOptions{})
			put(t, b, "line\n")
			began := time.Now()
			b.close()
			if took := time.Since(began); took != linePatience {
				t.Errorf("%s: closed after %v", name, took)
			}
			if s.held != nil {
				close(s.held)
			}
			<-b.done
		}
	})
}

// TestLinesFromManyGoroutines checks that all lines of many goroutines come out, each whole, those of one goroutine in
// their order.
func TestLinesFromManyGoroutines(t *testing.T) {
	const writers, each = 16, 500
	s := &sink{}
	b := newLineBuffer(s, lineBufferOptions{})
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				put(t, b, fmt.Sprintf("%d %d %s\n", w, i, strings.Repeat("x", i%50)))
			}
		})
	}
	group.Wait()
	b.close()
	next := make([]int, writers)
	for line := range strings.Lines(s.text()) {
		var w, i int
		var rest string
		if _, err := fmt.Sscanf(line, "%d %d%s", &w, &i, &rest); err != nil && i%50 != 0 {
			t.Fatalf("%q: %v", line, err)
		}
		if w >= writers || i != next[w] || rest != strings.Repeat("x", i%50) {
			t.Fatalf("%q after %d", line, next[w])
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("%d lines of writer %d", n, w)
		}
	}
	if dropped := b.droppedTotal(); dropped != 0 {
		t.Errorf("%d dropped", dropped)
	}
}

// TestFault116Pipe writes to a real pipe that is first not read and then read: no line is torn, and as many lines are
// missing as the notices say.
func TestFault116Pipe(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	b := newLineBuffer(writer, lineBufferOptions{limit: 32 << 10, notice: noticeOf})
	const lines = 20_000 // Some hundred kilobytes: more than a pipe and two buffers hold.
	began := time.Now()
	for i := range lines {
		put(t, b, fmt.Sprintf("line %d of a log that nobody reads\n", i))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("writing to a pipe that is full took %v", took)
	}
	dropped := b.droppedTotal()
	if dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		b.close()
		_ = writer.Close()
	}()
	seen, told := 0, uint64(0)
	for scanner := bufio.NewScanner(reader); scanner.Scan(); {
		var n uint64
		if _, err := fmt.Sscanf(scanner.Text(), "line %d of a log that nobody reads", &n); err == nil {
			seen++
		} else if _, err := fmt.Sscanf(scanner.Text(), "%d dropped", &n); err == nil {
			told += n
		} else {
			t.Fatalf("torn: %q", scanner.Text())
		}
	}
	<-closed
	if told != dropped || seen+int(dropped) != lines {
		t.Errorf("%d lines seen, %d dropped, %d said to be, of %d", seen, dropped, told, lines)
	}
}

// TestFault116FullDisk writes to a real device without space.
func TestFault116FullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no device here is always full")
	}
	defer full.Close()
	b := newLineBuffer(full, lineBufferOptions{limit: 1000})
	for range 1000 {
		put(t, b, "line\n")
	}
	if b.droppedTotal() == 0 {
		t.Error("nothing was dropped")
	}
	b.close()
	<-b.done
}
