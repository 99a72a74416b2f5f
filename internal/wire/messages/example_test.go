package messages_test

import (
	"fmt"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/messages"
)

func ExampleFormat() {
	format := messages.Format()
	body, err := jsonedit.Parse([]byte(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	request, err := format.Inspect(body)
	fmt.Println(request.Model, request.Prompt, err)

	tracker := format.Track(wire.Body, nil)
	answered := []byte(`{"type":"message","id":"msg_1","usage":{"input_tokens":3,"output_tokens":5}}`)
	tracker.Observe(sse.Event{Data: answered})
	answer := tracker.Answer()
	fmt.Println(answer.ID, answer.Usage.Input, answer.Usage.Output, answer.Terminal)
	// Output:
	// m [hi] <nil>
	// msg_1 3 5 true
}
