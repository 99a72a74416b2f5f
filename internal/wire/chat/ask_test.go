package chat_test

import (
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire/chat"
)

// TestAskForUsage is about stream options that clients send: usage is asked for where the client does not, and options
// of a wrong type are left to the upstream to refuse.
func TestAskForUsage(t *testing.T) {
	for options, edited := range map[string]bool{
		`null`: true, `{}`: true, `{"a":1}`: true, `{"include_usage":false}`: true, `{"include_usage":null}`: true,
		`{"include_usage":true}`: false, `{"include_usage":"yes"}`: false, `{"include_usage":1}`: false, `[]`: false, `"x"`: false,
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
