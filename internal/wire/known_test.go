package wire_test

import (
	"testing"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
	"github.com/coder/aibridged/internal/wire/messages"
	"github.com/coder/aibridged/internal/wire/responses"
)

// TestKnown checks for each format which events show that an answer is one of the format's.
func TestKnown(t *testing.T) {
	anyFormat := map[string]bool{
		`{"type":"ping"}`: false, `{}`: false, `not JSON`: false, `{"type":"no.such.event"}`: false, `[1]`: false, ``: false,
		`{"type":"error","error":{"type":"overloaded_error","message":"m"}}`: true,
	}
	for name, test := range map[string]struct {
		format wire.Format
		events map[string]bool
	}{
		"messages": {messages.Format(), map[string]bool{
			`{"type":"message_start","message":{}}`:                                             true,
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}`: true,
			`{"index":0,"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}`: true,
			`{"type":"content_block_delta","index":0,"delta":{"type":"new_delta"}}`:             true,
			`{"type":"content_block_stop","index":0}`:                                           true,
			`{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}`:                        false,
			`{"type":"response.output_text.delta","delta":"a"}`:                                 false,
		}},
		"chat": {chat.Format(), map[string]bool{
			`[DONE]`: true,
			`{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}`: true,
			`{"choices":[]}`:                       true,
			`{"usage":{"prompt_tokens":1}}`:        true,
			`{"usage":null}`:                       false,
			`{"type":"message_start"}`:             false,
			`{"id":"c","object":"something.else"}`: false,
		}},
		"responses": {responses.Format(), map[string]bool{
			`{"type":"response.output_text.delta","delta":"a"}`:          true,
			`{"delta":"a","type":"response.output_text.delta"}`:          true,
			`{"type":"response.created","response":{}}`:                  true,
			`{"type":"response.not.known.yet"}`:                          true,
			`{"object":"response","id":"r"}`:                             true,
			`{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}`: false,
			`{"type":"message_start"}`:                                   false,
		}},
	} {
		for _, events := range []map[string]bool{anyFormat, test.events} {
			for data, known := range events {
				tracker := test.format.Track(wire.Stream, nil)
				tracker.Observe(sse.Event{Data: []byte(data)})
				if got := tracker.Answer().Known; got != known {
					t.Errorf("%s: %s: known %t", name, data, got)
				}
			}
		}
	}
}
