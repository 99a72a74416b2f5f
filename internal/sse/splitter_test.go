package sse_test

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/sse"
)

// said is what an event says, without its bytes. A missing field differs from an empty one.
type said struct {
	kind, data       string
	hasKind, hasData bool
}

func data(text string) said        { return said{data: text, hasData: true} }
func typed(kind, text string) said { return said{kind, text, true, true} }
func typeOnly(kind string) said    { return said{kind: kind, hasKind: true} }
func saidBy(event sse.Event) said {
	return said{string(event.Type), string(event.Data), event.Type != nil, event.Data != nil}
}

// reading is the result of splitting a stream.
type reading struct {
	raw       []string
	events    []said
	opaque    int
	oversized int
}

// text returns the bytes of all events.
func (r reading) text() string { return strings.Join(r.raw, "") }

func (r *reading) add(events iter.Seq[sse.Event]) {
	for event := range events {
		r.raw = append(r.raw, string(event.Raw))
		if event.Opaque {
			r.opaque++
			continue
		}
		r.events = append(r.events, saidBy(event))
	}
}

// read feeds the chunks to a splitter, from a buffer that it overwrites afterwards, as a reader does.
func read(limit int, chunks ...string) reading {
	splitter := sse.Splitter{Limit: limit}
	var r reading
	for _, chunk := range chunks {
		buffer := []byte(chunk)
		r.add(splitter.Feed(buffer))
		for i := range buffer {
			buffer[i] = '#'
		}
	}
	r.add(splitter.Flush())
	r.oversized = splitter.Oversized()
	return r
}

// withoutLineEnd drops a last event that is only the LF of a CRLF. Such an event comes when the chunks separate CR and
// LF at the end of the stream.
func (r reading) withoutLineEnd() []said {
	if n := len(r.raw); n > 1 && r.raw[n-1] == "\n" && strings.HasSuffix(r.raw[n-2], "\r") {
		return r.events[:len(r.events)-1]
	}
	return r.events
}

var streams = []struct {
	name   string
	stream string
	want   []said
}{
	{"empty", "", nil},
	{"one", "data: x\n\n", []said{data("x")}},
	{"typed", "event: ping\ndata: {\"type\":\"ping\"}\n\n", []said{typed("ping", `{"type":"ping"}`)}},
	{"type after data", "data: x\nevent: late\n\n", []said{typed("late", "x")}},
	{"last type wins", "event: a\nevent: b\ndata: x\n\n", []said{typed("b", "x")}},
	{"type without data", "event: a\n\n", []said{typeOnly("a")}},
	{"empty type", "event:\ndata:x\n\n", []said{typed("", "x")}},
	{"no space", "data:x\n\n", []said{data("x")}},
	{"one space of two", "data:  x\n\n", []said{data(" x")}},
	{"tab is no space", "data:\tx\n\n", []said{data("\tx")}},
	{"space at the end", "data: x \n\n", []said{data("x ")}},
	{"colons", "data: a: b:c\n\n", []said{data("a: b:c")}},
	{"only a space", "data: \n\n", []said{data("")}},
	{"many data lines", "data: a\ndata: b\ndata:\ndata: c\n\n", []said{data("a\nb\n\nc")}},
	{"empty data lines", "data\ndata\n\n", []said{data("\n")}},
	{"empty first data line", "data:\ndata: x\n\n", []said{data("\nx")}},
	{"joined twice", "data: a\ndata: b\n\ndata: c\ndata: d\n\n", []said{data("a\nb"), data("c\nd")}},
	{"other fields", "id: 7\nretry: 10\nfoo: bar\ndata: x\n\n", []said{data("x")}},
	{"names are exact", "Data: a\n data: b\ndatas: c\ndata : d\n\n", []said{{}}},
	{"nul", "data: a\x00b\n\n", []said{data("a\x00b")}},
	{"comment", ": keep-alive\n\ndata: x\n\n", []said{{}, data("x")}},
	{"comment inside", "data: a\n: data: no\ndata: b\n\n", []said{data("a\nb")}},
	{"many blank lines", "\n\ndata: x\n\n\n\n", []said{{}, {}, data("x"), {}, {}}},

	{"fault 13: no colon", "data\n\n", []said{data("")}},
	{"fault 13: no colon, unknown", "HTTP/1.1 200 OK\n\n", []said{{}}},
	{"fault 13: CR only", "event: a\rdata: x\r\rdata: y\r\r", []said{typed("a", "x"), data("y")}},
	{"fault 13: CRLF", "event: a\r\ndata: x\r\n\r\ndata: y\r\n\r\n", []said{typed("a", "x"), data("y")}},
	{"fault 13: LF then CRLF", "data: x\n\r\ndata: y\n\r\n", []said{data("x"), data("y")}},
	{"fault 13: CRLF then LF", "data: x\r\n\ndata: y\r\n\n", []said{data("x"), data("y")}},
	{"fault 13: CR then CRLF", "data: x\r\r\ndata: y\r\r\n", []said{data("x"), data("y")}},
	{"fault 13: LF then CR", "data: x\n\rdata: y\n\r", []said{data("x"), data("y")}},
	{"fault 13: all in one event", "event: a\rdata: b\ndata: c\r\ndata: d\n\r\n", []said{typed("a", "b\nc\nd")}},
	{"fault 13: byte order mark", "\ufeffdata: x\n\n", []said{data("x")}},
	{"fault 13: second byte order mark", "\ufeff\ufeffdata: x\n\n", []said{{}}},
	{"fault 13: byte order mark later", "data: x\n\n\ufeffdata: y\n\n", []said{data("x"), {}}},
	{"fault 13: byte order mark only", "\ufeff", []said{{}}},
	{"fault 13: byte order mark, blank line", "\ufeff\ndata: x\n\n", []said{{}, data("x")}},
	{"fault 13: half a byte order mark", "\xef\xbb", []said{{}}},
	{"fault 13: broken byte order mark", "\xefdata: x\n\n", []said{{}}},
	{"fault 13: comment only", ": a\n: b\n\n", []said{{}}},
	{"fault 13: comment at the end", ": a", []said{{}}},
	{"fault 13: no blank line", "data: x\n\ndata: y\n", []said{data("x"), data("y")}},
	{"fault 13: no line end", "data: x\n\nevent: z\ndata: y", []said{data("x"), typed("z", "y")}},
	{"fault 13: cut in a field name", "data: x\n\ndat", []said{data("x"), {}}},
	{"fault 13: no blank line, CR", "data: x\r", []said{data("x")}},
	{"fault 16: multi-byte characters", "data: é€😀\n\ndata: 漢字\n\n", []said{data("é€😀"), data("漢字")}},
	{"fault 16: invalid UTF-8", "data: \xff\xc3\n\n", []said{data("\xff\xc3")}},
}

func TestStreams(t *testing.T) {
	for _, test := range streams {
		t.Run(test.name, func(t *testing.T) {
			got := read(0, test.stream)
			if got.text() != test.stream {
				t.Errorf("raw %q, want %q", got.raw, test.stream)
			}
			if !slices.Equal(got.events, test.want) {
				t.Errorf("events %+v, want %+v", got.events, test.want)
			}
		})
	}
}

// Fault 16: wherever a stream is cut in two, its bytes and its events are the same.
func TestEverySplit(t *testing.T) {
	for _, test := range streams {
		t.Run(test.name, func(t *testing.T) {
			check := func(chunks ...string) {
				t.Helper()
				got := read(0, chunks...)
				if got.text() != test.stream {
					t.Fatalf("chunks %q: raw %q", chunks, got.raw)
				}
				if !slices.Equal(got.withoutLineEnd(), test.want) {
					t.Fatalf("chunks %q: events %+v, want %+v", chunks, got.events, test.want)
				}
			}
			for i := range len(test.stream) + 1 {
				for j := i; j <= len(test.stream); j++ {
					check(test.stream[:i], test.stream[i:j], test.stream[j:])
				}
			}
			check(strings.Split(test.stream, "")...)
		})
	}
}

// An event is returned with the byte that completes it, not with the next one.
func TestNoDelay(t *testing.T) {
	tests := []struct {
		name   string
		chunks []string
		want   [][]string // The raw events that each chunk completes.
	}{
		{"LF", []string{"data: x\n", "\n", "data: y\n\n"}, [][]string{nil, {"data: x\n\n"}, {"data: y\n\n"}}},
		{"CR", []string{"data: x\r", "\r", "data: y\r\r"}, [][]string{nil, {"data: x\r\r"}, {"data: y\r\r"}}},
		{
			"LF after the last CR", []string{"data: x\r\n\r", "\n", "data: y\r\n\r", "\ndata: z\r\n\r\n"},
			[][]string{{"data: x\r\n\r"}, nil, {"\ndata: y\r\n\r"}, {"\ndata: z\r\n\r\n"}},
		},
		{
			"blank line after CR and LF", []string{"data: x\r\r", "\n\n", "\n"},
			[][]string{{"data: x\r\r"}, {"\n\n"}, {"\n"}},
		},
		{"CRLF parted inside", []string{"data: x\r", "\n", "\r\n"}, [][]string{nil, nil, {"data: x\r\n\r\n"}}},
		{"byte order mark", []string{"\ufeff\n", "\n"}, [][]string{{"\ufeff\n"}, {"\n"}}},
		{"several", []string{"data: x\n\ndata: y\n\ndata: z"}, [][]string{{"data: x\n\n", "data: y\n\n"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var splitter sse.Splitter
			for i, chunk := range test.chunks {
				var got reading
				got.add(splitter.Feed([]byte(chunk)))
				if !slices.Equal(got.raw, test.want[i]) {
					t.Errorf("chunk %d: %q, want %q", i, got.raw, test.want[i])
				}
			}
		})
	}
}

func TestFlushMakesReady(t *testing.T) {
	splitter := sse.Splitter{Limit: 20}
	var got reading
	for range 2 {
		got.add(splitter.Feed([]byte("\ufeffdata: x\n\ndata: y\r")))
		got.add(splitter.Flush())
		got.add(splitter.Feed([]byte("data: " + strings.Repeat("z", 20))))
		got.add(splitter.Flush())
		got.add(splitter.Flush())
	}
	want := []said{data("x"), data("y"), data("x"), data("y")}
	if !slices.Equal(got.events, want) {
		t.Errorf("events %+v, want %+v", got.events, want)
	}
	if splitter.Oversized() != 2 {
		t.Errorf("%d oversized, want 2", splitter.Oversized())
	}
}

// If iteration stops early, the next Feed or Flush returns the rest.
func TestStopEarly(t *testing.T) {
	const stream = "\ufeffdata: a\n\n: b\n\ndata: c\r\n\r\ndata: large large large\n\ndata: d\ndata: e\n\ndata: f"
	want := []said{data("a"), {}, data("c"), data("d\ne"), data("f")}
	for size := range len(stream) {
		splitter := sse.Splitter{Limit: 20}
		var got reading
		one := func(events iter.Seq[sse.Event]) {
			got.add(func(yield func(sse.Event) bool) {
				for event := range events {
					yield(event)
					return
				}
			})
		}
		for chunk := range slices.Chunk([]byte(stream), size+1) {
			one(splitter.Feed(chunk))
		}
		for range len(stream) {
			one(splitter.Flush())
		}
		if got.text() != stream {
			t.Errorf("chunks of %d: raw %q", size+1, got.raw)
		}
		if !slices.Equal(got.events, want) || splitter.Oversized() != 1 {
			t.Errorf("chunks of %d: events %+v, %d oversized", size+1, got.events, splitter.Oversized())
		}
	}
}

func TestOversized(t *testing.T) {
	large := "data: " + strings.Repeat("x", 100)
	tests := []struct {
		name      string
		stream    string
		want      []said
		oversized int
	}{
		{"none", strings.Repeat("data: 0123456789\n\n", 9), slices.Repeat([]said{data("0123456789")}, 9), 0},
		{"exactly the limit", "data: " + strings.Repeat("x", 24) + "\n\n", []said{data(strings.Repeat("x", 24))}, 0},
		{"one above", "data: " + strings.Repeat("x", 25) + "\n\ndata: y\n\n", []said{data("y")}, 1},
		{"LF", "data: x\n\n" + large + "\n\ndata: y\n\n", []said{data("x"), data("y")}, 1},
		{"CR", "data: x\r\r" + large + "\r\rdata: y\r\r", []said{data("x"), data("y")}, 1},
		{"CRLF", "data: x\r\n\r\n" + large + "\r\n\r\ndata: y\r\n\r\n", []said{data("x"), data("y")}, 1},
		{"many lines", strings.Repeat("data: x\r\n", 40) + "\r\ndata: y\n\n", []said{data("y")}, 1},
		{"two", large + "\n\n" + large + "\n\ndata: y\n\n", []said{data("y")}, 2},
		{"at the end", "data: y\n\n" + large, []said{data("y")}, 1},
		{"from the beginning", "\ufeff" + large + "\n\n\ndata: y\n\n", []said{{}, data("y")}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for size := range len(test.stream) {
				var chunks []string
				for chunk := range slices.Chunk([]byte(test.stream), size+1) {
					chunks = append(chunks, string(chunk))
				}
				got := read(32, chunks...)
				if got.text() != test.stream {
					t.Fatalf("chunks of %d: raw %q", size+1, got.raw)
				}
				if !slices.Equal(got.withoutLineEnd(), test.want) || got.oversized != test.oversized {
					t.Fatalf("chunks of %d: events %+v, %d oversized; want %+v, %d",
						size+1, got.events, got.oversized, test.want, test.oversized)
				}
				if (got.opaque > 0) != (test.oversized > 0) {
					t.Fatalf("chunks of %d: %d opaque pieces", size+1, got.opaque)
				}
			}
		})
	}
}

// Fault 15: lines of 1 MB and 20 MB come through whole, and are parsed under the default limit; above a lower limit
// their bytes are returned as they come.
func TestLongLines(t *testing.T) {
	long, longer := strings.Repeat("1", 1<<20), strings.Repeat("2", 20<<20)
	stream := "data: " + long + "\n\ndata: " + longer + "\n\ndata: x\n\n"
	chunks := func(yield func([]byte) bool) {
		for chunk := range slices.Chunk([]byte(stream), 32<<10) {
			if !yield(chunk) {
				return
			}
		}
	}
	t.Run("default limit", func(t *testing.T) {
		var splitter sse.Splitter
		var got reading
		for chunk := range chunks {
			got.add(splitter.Feed(chunk))
		}
		if !slices.Equal(got.events, []said{data(long), data(longer), data("x")}) || splitter.Oversized() != 0 {
			t.Errorf("%d events, %d oversized", len(got.events), splitter.Oversized())
		}
		if got.text() != stream {
			t.Error("raw bytes differ")
		}
	})
	t.Run("32 MiB", func(t *testing.T) {
		got := read(0, "data: "+strings.Repeat("3", 32<<20)+"\n\n")
		if len(got.events) != 1 || len(got.events[0].data) != 32<<20 || got.oversized != 0 {
			t.Errorf("%d events, %d oversized", len(got.events), got.oversized)
		}
	})
	t.Run("limit of 2 MiB", func(t *testing.T) {
		splitter := sse.Splitter{Limit: 2 << 20}
		var text bytes.Buffer
		var events []said
		largest := 0
		for chunk := range chunks {
			for event := range splitter.Feed(chunk) {
				text.Write(event.Raw)
				largest = max(largest, len(event.Raw))
				if !event.Opaque {
					events = append(events, saidBy(event))
				}
			}
		}
		if text.String() != stream {
			t.Error("raw bytes differ")
		}
		if !slices.Equal(events, []said{data(long), data("x")}) || splitter.Oversized() != 1 {
			t.Errorf("%d events, %d oversized", len(events), splitter.Oversized())
		}
		if largest > splitter.Limit+32<<10 {
			t.Errorf("a piece of %d bytes", largest)
		}
	})
}

// Many short lines in one chunk take time in proportion to their number, whatever ends them; by the square it would
// take minutes.
func TestManyLines(t *testing.T) {
	for _, end := range []string{"\n", "\r", "\r\n"} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			const n = 1 << 20
			start := time.Now()
			got := read(0, strings.Repeat("data:"+end, n)+end)
			if len(got.events) != 1 || got.events[0] != data(strings.Repeat("\n", n-1)) {
				t.Errorf("%d events", len(got.events))
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func FuzzSplitter(f *testing.F) {
	for _, stream := range streams {
		f.Add([]byte(stream.stream), []byte{1, 2, 3})
	}
	f.Fuzz(func(t *testing.T, stream, sizes []byte) {
		var chunks []string
		for i, rest := 0, string(stream); rest != ""; i++ {
			n := len(rest)
			if len(sizes) > 0 {
				n = min(n, int(sizes[i%len(sizes)]))
			}
			if n == 0 {
				n = 1
			}
			chunks = append(chunks, rest[:n])
			rest = rest[n:]
		}
		for _, limit := range []int{0, 16} {
			whole, parted := read(limit, string(stream)), read(limit, chunks...)
			if whole.text() != string(stream) || parted.text() != string(stream) {
				t.Fatalf("raw %q and %q of %q", whole.raw, parted.raw, stream)
			}
			if limit == 0 && !slices.Equal(whole.events, parted.withoutLineEnd()) {
				t.Fatalf("chunks %q: events %+v, whole %+v", chunks, parted.events, whole.events)
			}
		}
	})
}

func BenchmarkFeed(b *testing.B) {
	event := "event: content_block_delta\n" +
		`data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" a few words of text"}}` +
		"\n\n"
	b.Run("one event a chunk", func(b *testing.B) {
		var splitter sse.Splitter
		chunk := []byte(event)
		b.SetBytes(int64(len(chunk)))
		b.ReportAllocs()
		for b.Loop() {
			for range splitter.Feed(chunk) {
			}
		}
	})
	b.Run("event in two chunks", func(b *testing.B) {
		var splitter sse.Splitter
		chunk := []byte(event)
		b.SetBytes(int64(len(chunk)))
		b.ReportAllocs()
		for b.Loop() {
			for range splitter.Feed(chunk[:100]) {
			}
			for range splitter.Feed(chunk[100:]) {
			}
		}
	})
	b.Run("CRLF", func(b *testing.B) {
		var splitter sse.Splitter
		chunk := []byte(strings.ReplaceAll(event, "\n", "\r\n"))
		b.SetBytes(int64(len(chunk)))
		b.ReportAllocs()
		for b.Loop() {
			for range splitter.Feed(chunk) {
			}
		}
	})
	b.Run("200 events a chunk", func(b *testing.B) {
		var splitter sse.Splitter
		chunk := []byte(strings.Repeat(event, 200))
		b.SetBytes(int64(len(chunk)))
		b.ReportAllocs()
		for b.Loop() {
			for range splitter.Feed(chunk) {
			}
		}
	})
}
