package chat

import (
	"reflect"
	"testing"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// FuzzText compares isText with a reading of the whole chunk: a chunk that is valid JSON and passes as text must say
// nothing else.
func FuzzText(f *testing.F) {
	for _, chunk := range []string{
		`{"choices":[{"index":0,"delta":{"content":"\"usage\":{}"},"finish_reason":null}],"usage":null}`,
		`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason" : "stop"}]}`,
		`{"choices":[{"index":0,"delta":{"\u0072easoning":"a"}}]}`,
		`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a"}]}}]}`,
		`{"choices":[],"usage":{"prompt_tokens":1}}`,
		`{"choices":[],"object":"chat.completion"}`,
		`{"choices":[],"error":{"message":"m"}}`,
		`{"choices":[{"delta":{"content" : [{"type":"thinking","thinking":"a"}]}}]}`,
		`{"choices":[{"delta":{"encrypted_content":"a"}}]}`,
		`{"choices":[{"delta":{"thinking":"a"}}]}`,
		`{"choices":[{"finish_reason":null,"error":"a"}]}`,
		`{"choices":[{"message":{}}],"service_tier":"flex"}`,
		`{"choices":[{"delta":{"function_call":{"name":"a"}}}],"type":"error"}`,
		"{\"choices\":[{\"delta\":{\"content\":\"\\\\u\"},\"finish_reason\"\n:\tnull}]}",
	} {
		f.Add([]byte(chunk))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tracker := Format().Track(wire.Stream, nil).(*tracker)
		tracker.answer.ID, tracker.answer.Model, tracker.answer.Known = "id", "model", true
		if !wire.IsSound(data) || len(data) == 0 || data[0] != '{' || !tracker.isText(sse.Event{}, data) {
			return
		}
		tracker.read(sse.Event{}, data)
		if got, want := tracker.Answer(), (wire.Answer{ID: "id", Model: "model", Known: true}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is passed over as text, but makes %+v", data, got)
		}
	})
}

func TestTextIsPassedOver(t *testing.T) {
	texts := map[string]bool{
		`{"choices":[{"delta":{"content":"a \"usage\" \"error\""},"finish_reason":null}],"usage" : null}`: true,
		`{"choices":[{"delta":{"content":"\\u"},"finish_reason":"stop"}]}`:                                false,
		`{"choices":[{"delta":{"content":"\u00fc"}}]}`:                                                    false,
		`{"usage":null}`: false,
	}
	for data, want := range texts {
		known := &tracker{answer: wire.Answer{ID: "id", Model: "model"}}
		if got := known.isText(sse.Event{}, []byte(data)); got != want {
			t.Errorf("isText(%s) = %v", data, got)
		}
		for _, unknown := range []*tracker{{}, {answer: wire.Answer{ID: "id"}}, {answer: wire.Answer{Model: "model"}}} {
			if unknown.isText(sse.Event{}, []byte(data)) {
				t.Errorf("%s is passed over before it is known who answers", data)
			}
		}
		if known.isText(sse.Event{Type: []byte("error")}, []byte(data)) {
			t.Errorf("%s is passed over whatever the event line says", data)
		}
	}
}
