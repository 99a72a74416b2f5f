package rederive_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/rederive"
)

// speaker writes a script in a format.
type speaker interface {
	stream() []said
	body() any
	failure() said
}

func speakerOf(d dice, format string, s script, plain plain) speaker {
	switch format {
	case rederive.FormatMessages:
		return newMessages(d, s, plain)
	case rederive.FormatChat:
		return newChat(d, s, plain)
	}
	return newResponses(d, s, plain)
}

// upstream is an answer as it goes over the wire.
type upstream struct {
	status     int
	header     http.Header
	body       []byte
	whole      bool
	blocks     [][]byte // The blocks of a stream, before its content coding.
	clientGone int      // After this many bytes the client leaves; negative: it does not.
	coding     string
	isStream   bool
	chunk      int // The largest number of bytes that come at once.
}

// newUpstream makes an answer to a request.
func newUpstream(d dice, format string, request ask, mutations []byte) upstream {
	speak := speakerOf(d, format, newScript(d, false), false)
	u := upstream{status: http.StatusOK, header: http.Header{}, whole: true, clientGone: -1, chunk: pick(d, 100, 100, 500, 4096, 1<<20)}
	u.header.Set("Request-Id", "req_1")
	if d.oneIn(10) {
		u.chunk = pick(d, 1, 2, 7)
	}
	switch {
	case d.oneIn(12):
		u.fail(d, format)
	case request.stream != d.oneIn(40): // Some servers ignore what was asked.
		u.stream(d, format, speak, mutations)
	default:
		u.header.Set("Content-Type", pick(d, "application/json", "application/json; charset=utf-8"))
		u.body = []byte(pick(d, "", " ", "\n\n") + d.encode(speak.body()) + pick(d, "", "\n"))
		if d.oneIn(15) {
			u.body = []byte(d.encode(openAIFailure(d)))
		}
	}
	if d.oneIn(25) {
		u.header.Del("Content-Type")
		if u.isStream = request.stream && u.status < 300; u.isStream && u.blocks == nil {
			u.blocks = [][]byte{u.body}
		}
	}
	if u.coding = d.coding(); u.coding != "" {
		u.header.Set("Content-Encoding", u.coding)
		if !d.oneIn(20) { // Some servers forget the Content-Type.
			u.body = d.coded(u.coding, u.body)
		}
	}
	switch {
	case d.oneIn(10):
		u.body = u.body[:d.upTo(len(u.body))]
		u.whole = false
	case d.oneIn(25):
		u.whole = false // The connection breaks after the last byte.
	case u.isStream && d.oneIn(25):
		u.body = u.body[:d.upTo(len(u.body))] // Cut, but in good order as far as the connection shows.
	case u.isStream && d.oneIn(12):
		u.clientGone = d.upTo(len(u.body))
	}
	return u
}

// newPlainUpstream makes an answer without faults, streamed or not.
func newPlainUpstream(d dice, format string, speak speaker, stream bool) upstream {
	u := upstream{status: http.StatusOK, header: http.Header{}, whole: true, clientGone: -1, chunk: 100, isStream: stream}
	if !stream {
		u.header.Set("Content-Type", "application/json")
		u.body = []byte(d.encode(speak.body()))
		return u
	}
	u.header.Set("Content-Type", "text/event-stream")
	u.blocks = d.frame(speak.stream(), format != rederive.FormatChat)
	u.body = bytes.Join(u.blocks, nil)
	return u
}

// fail makes the answer an error, or something that is not an answer.
func (u *upstream) fail(d dice, format string) {
	u.status = pick(d, 302, 307, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529, 200)
	u.header.Set("Content-Type", "application/json")
	failure := openAIFailure(d)
	if d.oneIn(6) {
		failure = object{{"error", d.text()}}
	}
	if format == rederive.FormatMessages {
		failure = object{{"type", "error"}, {"error", object{{"type", "overloaded_error"}, {"message", d.text()}}}}
	}
	u.body = []byte(d.encode(failure))
	if d.oneIn(4) {
		u.header.Set("Content-Type", pick(d, "text/html", "text/plain"))
		u.body = []byte(pick(d, "<html>Sign in</html>", "", "upstream connect error"))
	}
}

// stream makes the answer a stream of what speak writes, changed by mutations.
func (u *upstream) stream(d dice, format string, speak speaker, mutations []byte) {
	u.isStream = true
	u.header.Set("Content-Type", pick(d, "text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream"))
	events := speak.stream()
	switch {
	case d.oneIn(12):
		events = append(events[:d.upTo(len(events)-1)], speak.failure())
	case d.oneIn(15):
		events = events[:d.upTo(len(events))]
	}
	events = mutate(events, speak, mutations)
	u.blocks = d.frame(events, format != rederive.FormatChat && !d.oneIn(10))
	u.body = bytes.Join(u.blocks, nil)
}

// mutate changes a list of events by a fuzzer's bytes: one byte says what to do, the next one where.
func mutate(events []said, speak speaker, mutations []byte) []said {
	events = slices.Clone(events)
	for change := range slices.Chunk(mutations, 2) {
		if len(change) < 2 || len(events) == 0 {
			break
		}
		at := int(change[1]) % len(events)
		switch change[0] % 5 {
		case 0:
			events = slices.Delete(events, at, at+1)
		case 1:
			events = slices.Insert(events, at, events[at])
		case 2:
			next := (at + 1) % len(events)
			events[at], events[next] = events[next], events[at]
		case 3:
			events = slices.Insert(events, at, speak.failure())
		case 4:
			events = events[:at]
		}
	}
	return events
}

// kept returns what the client gets of the first n bytes of a stream whose usage-only chunks are withheld.
func (u *upstream) kept(n int) []byte {
	var kept []byte
	for _, block := range u.blocks {
		block = block[:min(n, len(block))]
		n -= len(block)
		if isUsageOnly(string(block)) {
			block = commentsBefore(block)
		}
		kept = append(kept, block...)
	}
	return kept
}

// commentsBefore returns the comments at the beginning of a block: they pass at once, before it is known what follows.
func commentsBefore(block []byte) []byte {
	n := 0
	for n < len(block) && block[n] == ':' {
		end := bytes.IndexAny(block[n:], "\r\n")
		if n += end + 1; block[n-1] == '\r' && n < len(block) && block[n] == '\n' {
			n++
		}
	}
	return block[:n]
}

func isUsageOnly(block string) bool {
	var data string
	block = strings.TrimPrefix(block, "\uFEFF")
	for line := range strings.FieldsFuncSeq(block, func(c rune) bool { return c == '\r' || c == '\n' }) {
		if rest, ok := strings.CutPrefix(line, "data:"); ok {
			data += rest + "\n"
		}
	}
	var chunk map[string]json.RawMessage
	if json.Unmarshal([]byte(data), &chunk) != nil || !strings.HasPrefix(string(chunk["usage"]), "{") {
		return false
	}
	about := []string{"id", "object", "created", "model", "system_fingerprint", "service_tier", "provider", "obfuscation"}
	for name, value := range chunk {
		text := strings.Join(strings.Fields(string(value)), "")
		isFull := strings.ContainsAny(text[:1], `{["`) && !slices.Contains([]string{"[]", "{}", `""`}, text)
		if isFull && name != "usage" && name != "x_groq" && (text[0] != '"' || !slices.Contains(about, name)) {
			return false
		}
	}
	return true
}

func isJSON(text string) bool { return json.Valid([]byte(text)) }
