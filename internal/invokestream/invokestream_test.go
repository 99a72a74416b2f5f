package invokestream_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"

	aws "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/coder/aibridged/internal/eventstream"
	"github.com/coder/aibridged/internal/invokestream"
	"github.com/coder/aibridged/internal/sse"
)

// frame makes a frame with headers, which are pairs of name and value.
func frame(t testing.TB, payload string, headers ...string) eventstream.Frame {
	t.Helper()
	message := aws.Message{Payload: []byte(payload)}
	for i := 0; i < len(headers); i += 2 {
		message.Headers.Set(headers[i], aws.StringValue(headers[i+1]))
	}
	var stream bytes.Buffer
	if err := aws.NewEncoder().Encode(&stream, message); err != nil {
		t.Fatal(err)
	}
	var splitter eventstream.Splitter
	var frame eventstream.Frame
	for frame = range splitter.Feed(stream.Bytes()) {
	}
	if err := splitter.End(); err != nil {
		t.Fatal(err)
	}
	return frame
}

func chunk(t testing.TB, event string) eventstream.Frame {
	t.Helper()
	payload, err := json.Marshal(map[string]string{"bytes": base64.StdEncoding.EncodeToString([]byte(event)), "p": "abcd"})
	if err != nil {
		t.Fatal(err)
	}
	return frame(t, string(payload), ":message-type", "event", ":event-type", "chunk", ":content-type", "application/json")
}

func TestEventsKeepTheirBytes(t *testing.T) {
	for _, test := range []struct{ event, kind string }{
		{`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3}}   `, "message_stop"},
		{`{"index":0, "type" : "content_block_delta"}`, "content_block_delta"},
		{`{"type":"odd\nkind"}`, ""},
		{`not JSON`, ""},
		{``, ""},
	} {
		got, err := invokestream.Read(chunk(t, test.event))
		if err != nil || got.Type != test.kind || string(got.Data) != test.event || got.Exception != nil {
			t.Errorf("%q: %+v, %v", test.event, got, err)
		}
	}
}

func TestExceptions(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		kind   string
	}{
		{"throttlingException", 429, "rate_limit_error"},
		{"modelStreamErrorException", 424, "api_error"},
		{"modelTimeoutException", 408, "timeout_error"},
		{"internalServerException", 500, "api_error"},
		{"serviceUnavailableException", 503, "overloaded_error"},
		{"validationException", 400, "invalid_request_error"},
		{"AccessDeniedException", 403, "permission_error"},
		{"nobodyKnowsException", 500, "api_error"},
	} {
		got, err := invokestream.Read(frame(t, `{"message":"Wait, \"please\""}`, ":message-type", "exception", ":exception-type", test.name))
		if err != nil || got.Exception == nil {
			t.Fatalf("%s: %+v, %v", test.name, got, err)
		}
		want := `{"type":"error","error":{"type":"` + test.kind + `","message":"Wait, \"please\""}}`
		if got.Exception.Status() != test.status || string(got.Exception.Body()) != want {
			t.Errorf("%s: %d %s", test.name, got.Exception.Status(), got.Exception.Body())
		}
	}
	got, err := invokestream.Read(frame(t, "", ":message-type", "error", ":error-code", "InternalFailure", ":error-message", "gone"))
	if err != nil || got.Exception == nil || *got.Exception != (invokestream.Exception{Name: "InternalFailure", Message: "gone"}) {
		t.Errorf("error: %+v, %v", got, err)
	}
}

func TestOtherFramesAreSkipped(t *testing.T) {
	for _, headers := range [][]string{
		{":message-type", "event", ":event-type", "initial-response"}, {":message-type", "event"}, {":message-type", "new"}, {},
	} {
		if got, err := invokestream.Read(frame(t, `{"bytes":"e30="}`, headers...)); err != nil || got.Data != nil || got.Exception != nil {
			t.Errorf("%q: %+v, %v", headers, got, err)
		}
	}
}

func TestChunksThatCannotBeRead(t *testing.T) {
	for _, payload := range []string{"", "{", `{}`, `{"bytes":7}`, `{"bytes":"?"}`, `{"bytes":"e30"}`} {
		if got, err := invokestream.Read(frame(t, payload, ":message-type", "event", ":event-type", "chunk")); err == nil {
			t.Errorf("%q: %+v", payload, got)
		}
	}
}

func TestErrorsOfAnswers(t *testing.T) {
	for _, test := range []struct {
		errorType, body string
		status          int
		want            string
	}{
		{"ValidationException:http://internal.amazon.com/coral/", `{"message":"tools.0.custom.strict: Extra inputs"}`, 400, `{"type":"error","error":{"type":"invalid_request_error","message":"tools.0.custom.strict: Extra inputs"}}`},
		{"", `{"__type":"com.amazon.coral.service#ThrottlingException","Message":"slow"}`, 429, `{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}`},
		{"", `<html>`, 503, `{"type":"error","error":{"type":"overloaded_error","message":"Service Unavailable"}}`},
		{"NewException", ``, 404, `{"type":"error","error":{"type":"not_found_error","message":"NewException"}}`},
	} {
		e, isForeign := invokestream.FromAnswer(test.errorType, []byte(test.body))
		if got := string(e.BodyFor(test.status)); isForeign || got != test.want {
			t.Errorf("%s: %s", test.body, got)
		}
	}
	if _, isForeign := invokestream.FromAnswer("", []byte(`{"type":"error","error":{"type":"api_error","message":"x"}}`)); !isForeign {
		t.Error("an error of the Messages API is not recognised")
	}
}

// TestSplitter checks the events that a tracker is shown.
func TestSplitter(t *testing.T) {
	stream := slices.Concat(
		chunk(t, `{"type":"ping"}`).Raw, frame(t, "{}", ":message-type", "event", ":event-type", "other").Raw,
		frame(t, `{"bytes":1}`, ":message-type", "event", ":event-type", "chunk").Raw,
		frame(t, `{"message":"m"}`, ":message-type", "exception", ":exception-type", "validationException").Raw,
	)
	want := []sse.Event{
		{Type: []byte("ping"), Data: []byte(`{"type":"ping"}`)}, {}, {Opaque: true},
		{Type: []byte("error"), Data: []byte(`{"type":"error","error":{"type":"invalid_request_error","message":"m"}}`)},
	}
	for _, size := range []int{1, 7, len(stream)} {
		splitter := invokestream.NewSplitter(nil)
		var raw []byte
		n := 0
		for piece := range slices.Chunk(stream, size) {
			for got := range splitter.Feed(piece) {
				if n == len(want) {
					t.Fatalf("pieces of %d: too many events", size)
				}
				if w := want[n]; string(got.Type) != string(w.Type) || string(got.Data) != string(w.Data) || got.Opaque != w.Opaque {
					t.Errorf("pieces of %d: event %d is %s %s", size, n, got.Type, got.Data)
				}
				raw = append(raw, got.Raw...)
				n++
			}
		}
		if err := splitter.End(); err != nil || n != len(want) || !bytes.Equal(raw, stream) {
			t.Errorf("pieces of %d: %d events, %v", size, n, err)
		}
		splitter.Close()
	}
}
