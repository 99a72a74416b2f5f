package chat_test

import (
	"fmt"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
)

func ExampleFormat() {
	format := chat.Format()
	body := []byte(`{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
	object, err := jsonedit.Parse(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	request, err := format.Inspect(object)
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err = jsonedit.Splice(body, request.Edits...)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(body))

	tracker := format.Track(wire.Stream, nil)
	for _, data := range []string{
		`{"id":"c1","model":"m","choices":[{"index":0,"delta":{"content":"hello"}}],"usage":null}`,
		`{"id":"c1","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}`,
	} {
		event := sse.Event{Data: []byte(data)}
		tracker.Observe(event)
		fmt.Println("withhold:", request.Withhold(event))
	}
	answer := tracker.Answer()
	fmt.Println(answer.ID, answer.Usage.Input, answer.Usage.Output)
	// Output:
	// {"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}],"stream_options":{"include_usage":true}}
	// withhold: false
	// withhold: true
	// c1 3 5
}
