package wiretest

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

func runExchange(t *testing.T, format wire.Format, x exchange) {
	if x.request != nil {
		t.Run("request", func(t *testing.T) { testEdits(t, format, x) })
	}
	if x.body != nil {
		t.Run("body", func(t *testing.T) {
			sameAnswer(t, trackBody(format, bytes.TrimSpace(x.body)), x.answer)
		})
	}
	if x.stream == nil {
		return
	}
	events := split(x.stream)
	t.Run("stream", func(t *testing.T) { sameAnswer(t, track(format, events), x.answer) })
	t.Run("cut", func(t *testing.T) { testCut(t, format, events, x.answer) })
	t.Run("split", func(t *testing.T) { testSplit(t, format, x) })
	t.Run("garbage", func(t *testing.T) { testGarbage(t, format, events, x.answer) })
	t.Run("owned", func(t *testing.T) { testOwned(t, format, events, x.answer) })
}

// split returns the events of a stream fed in these chunks. They share no memory with the chunks.
func split(chunks ...[]byte) []sse.Event {
	var splitter sse.Splitter
	var events []sse.Event
	keep := func(event sse.Event) {
		event.Raw, event.Type, event.Data = bytes.Clone(event.Raw), bytes.Clone(event.Type), bytes.Clone(event.Data)
		events = append(events, event)
	}
	for _, chunk := range chunks {
		for event := range splitter.Feed(chunk) {
			keep(event)
		}
	}
	for event := range splitter.Flush() {
		keep(event)
	}
	return events
}

func track(format wire.Format, events []sse.Event) wire.Answer {
	return answerOf(format.Track(wire.Stream, nil), events)
}

// trackBody returns what a format sees in a JSON body.
func trackBody(format wire.Format, body []byte) wire.Answer {
	return answerOf(format.Track(wire.Body, nil), []sse.Event{{Data: body}})
}

func answerOf(tracker wire.Tracker, events []sse.Event) wire.Answer {
	for _, event := range events {
		tracker.Observe(event)
	}
	return tracker.Answer()
}

// testCut asks for the answer after every event. Asking changes nothing, no answer has ended before its last event, and
// what was seen stays.
func testCut(t *testing.T, format wire.Format, events []sse.Event, want wire.Answer) {
	tracker := format.Track(wire.Stream, nil)
	var before wire.Answer
	for i, event := range events {
		tracker.Observe(event)
		now := tracker.Answer()
		if now.Terminal && i < len(events)-1 {
			t.Fatalf("event %d of %d is taken for the end: %s", i, len(events), event.Raw)
		}
		if len(now.ToolCalls) < len(before.ToolCalls) || len(now.Thoughts) < len(before.Thoughts) ||
			before.Usage != nil && now.Usage == nil {
			t.Fatalf("event %d lost what was seen before it:\n%s\nthen\n%s", i, indented(before), indented(now))
		}
		before = now
	}
	sameAnswer(t, before, want)
}

// testSplit cuts the bytes of a stream in two, at every byte, and into single bytes.
func testSplit(t *testing.T, format wire.Format, x exchange) {
	for i := range x.stream {
		sameAnswer(t, track(format, split(x.stream[:i], x.stream[i:])), x.answer)
	}
	sameAnswer(t, track(format, split(slices.Collect(slices.Chunk(x.stream, 1))...)), x.answer)
	crlf := bytes.ReplaceAll(x.stream, []byte("\n"), []byte("\r\n"))
	sameAnswer(t, track(format, split(crlf)), x.answer)
}

// testGarbage puts two kinds of events between all events: some that no format can read, which are counted and change
// nothing, and some that carry nothing to read, which are not counted.
func testGarbage(t *testing.T, format wire.Format, events []sse.Event, want wire.Answer) {
	mixed := slices.Clone(quiet())
	for _, event := range events {
		mixed = append(mixed, garbage()...)
		mixed = append(mixed, event)
		mixed = append(mixed, quiet()...)
		want.Unread += len(garbage())
	}
	sameAnswer(t, track(format, mixed), want)
}

// garbage returns events that each count as unread.
func garbage() []sse.Event {
	texts := []string{
		"not JSON", "{", `{"type":`, "[]", "null", "12", `"message_stop"`, "{}", `{"type":7}`,
		`{"type":"no.such.event","object":"no.such.object"}`,
		`{"type":"message_stop"} trailing`,
		`{"usage":null,"error":null,"data":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + "}",
		strings.Repeat(`{"response":`, 10_000),
	}
	events := []sse.Event{{Raw: []byte("data: much"), Opaque: true}}
	for _, text := range texts {
		events = append(events, sse.Event{Data: []byte(text)})
	}
	return events
}

// quiet returns events that say nothing.
func quiet() []sse.Event {
	return []sse.Event{
		{Raw: []byte(": a comment\n\n")},
		{Type: []byte("ping"), Data: []byte("{}")},
		{Type: []byte("ping"), Data: []byte(`{"type":"ping"}`)},
		{Data: []byte(`{"type":"ping"}`)},
		{Type: []byte("no.such.event")},
		{Data: []byte("  ")},
	}
}

// testOwned overwrites each event after it was observed, and each answer after it was compared: the tracker must use
// neither.
func testOwned(t *testing.T, format wire.Format, events []sse.Event, want wire.Answer) {
	tracker := format.Track(wire.Stream, nil)
	for _, event := range events {
		shared := sse.Event{Type: bytes.Clone(event.Type), Data: bytes.Clone(event.Data)}
		tracker.Observe(shared)
		if !bytes.Equal(shared.Type, event.Type) || !bytes.Equal(shared.Data, event.Data) {
			t.Fatalf("the tracker changed an event: %s", event.Raw)
		}
		overwrite(shared.Type)
		overwrite(shared.Data)
	}
	answer := tracker.Answer()
	sameAnswer(t, answer, want)
	if answer.Usage != nil {
		maps.DeleteFunc(answer.Usage.Extra, func(string, int64) bool { return true })
		*answer.Usage = wire.Usage{}
	}
	clear(answer.ToolCalls)
	clear(answer.Thoughts)
	sameAnswer(t, tracker.Answer(), want)
}

func overwrite(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}

// testEdits inspects the exchange's request, edits it as the format asks, and withholds the events that it names.
func testEdits(t *testing.T, format wire.Format, x exchange) {
	body := bytes.TrimSpace(x.request)
	request := inspect(t, format, body)
	edited, err := jsonedit.Splice(body, request.Edits...)
	if err != nil {
		t.Fatal(err)
	}
	want := body
	if x.edited != nil {
		want = bytes.TrimSpace(x.edited)
	}
	if !bytes.Equal(edited, want) {
		t.Errorf("edited to\n%s\nwant\n%s", edited, want)
	}
	var client []byte
	for _, event := range split(x.stream) {
		if request.Withhold == nil || !request.Withhold(event) {
			client = append(client, event.Raw...)
		}
	}
	want = x.stream
	if x.client != nil {
		want = x.client
	}
	if !bytes.Equal(client, want) {
		t.Errorf("the client gets\n%s\nwant\n%s", client, want)
	}
}

func inspect(t testing.TB, format wire.Format, body []byte) wire.Request {
	t.Helper()
	lent := bytes.Clone(body)
	defer overwrite(lent) // What the format has read of the body is its own.
	object, err := jsonedit.Parse(lent)
	if err != nil {
		t.Fatal(err)
	}
	request, err := format.Inspect(object)
	if err != nil {
		t.Fatal(err)
	}
	return request
}
