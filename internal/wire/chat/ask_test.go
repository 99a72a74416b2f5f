package chat_test

import (
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire/chat"
)

// TestAskForUsage is about stream options that clients send: usage is asked for where the client does not, and options
// of a wrong type are left to the upstream to refuse.
func TestAskForUsage(t *testing.T) {
	for options, edited := range map[string]bool{
		`null`: true, `{}`: true, `{"a":1}`: true, `{"include_usage":false}`: true, `{"include_usage":null}`: true,
		`{"include_usage":true}`: false, `{"include_usage":"yes"}`: false, `{"include_usage":1}`: false, `[]`: false, `"x"`: false,
		`{"continuous_usage_stats":true}`: false, `{"continuous_usage_stats":false}`: true,
		// Members beside stream_options.
		`null,"usage":{"include":true}`: false, `null,"usage":{"include":false}`: true, `null,"usage":{}`: true, `{},"usage":true`: false,
		`null,"include_usage":true`: false, `null,"usage":null`: true, `null,"return_usage":1`: false,
	} {
		object, err := jsonedit.Parse([]byte(`{"model":"m","stream":true,"messages":[],"stream_options":` + options + `}`))
		if err != nil {
			t.Fatal(err)
		}
		format := chat.Format()
		request, err := format.Inspect(object)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(request.Edits) > 0; got != edited || got != (request.Withhold != nil) {
			t.Errorf("%s: edited %t, withholds %t; want %t", options, got, request.Withhold != nil, edited)
		}
	}
}

// TestWithheldChunks is about chunks of a stream for whose usage only the gateway has asked: those that say nothing else
// are withheld, in every shape.
func TestWithheldChunks(t *testing.T) {
	object, err := jsonedit.Parse([]byte(`{"model":"m","stream":true,"messages":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	format := chat.Format()
	request, err := format.Inspect(object)
	if err != nil {
		t.Fatal(err)
	}
	for chunk, withheld := range map[string]bool{
		`{"id":"c","choices":[],"usage":{"prompt_tokens":1}}`:                              true,
		`{"id":"c","choices":null,"usage":{"prompt_tokens":1}}`:                            true,
		`{"id":"c","usage":{"prompt_tokens":1}}`:                                           true,
		`{"usage":{}}`:                                                                     true,
		`{"us\u0061ge":{"prompt_tokens":1},"choices":[]}`:                                  true,
		`{"choices":[],"usage":{"prompt_tokens":1},"system_fingerprint":"f","error":null}`: true,
		`{"choices":[],"usage":{"prompt_tokens":1},"x_groq":{"id":"r"}}`:                   true,
		`{"choices":[],"usage":null}`:                                                      false,
		`{"choices":[],"prompt_filter_results":[{}]}`:                                      false,
		`{"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":1}}`:                 false,
		`{"choices":[],"usage":{"prompt_tokens":1},"error":{"message":"m"}}`:               false,
		`{"usage":{"prompt_tokens":1},"message":{"content":"a"}}`:                          false,
		`{"usage":{"prompt_tokens":1},"content":"a"}`:                                      false,
		`{"choices":[{"usage":{"prompt_tokens":1}}]}`:                                      false,
		`[DONE]`: false, ``: false, `"usage"`: false, `{"usage":{"prompt_tokens":1}`: false, `[{"usage":{}}]`: false,
	} {
		if got := request.Withhold(sse.Event{Data: []byte(chunk)}); got != withheld {
			t.Errorf("%s: withheld %t", chunk, got)
		}
	}
}
