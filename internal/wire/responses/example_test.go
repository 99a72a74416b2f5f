package responses_test

import (
	"fmt"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/responses"
)

func ExampleFormat() {
	format := responses.Format()
	body, err := jsonedit.Parse([]byte(`{"model":"m","input":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	request, err := format.Inspect(body)
	fmt.Println(request.Model, request.Prompt, err)

	tracker := format.Track(wire.Body, nil)
	for _, data := range []string{
		`{"type":"response.output_text.delta","delta":"hello"}`,
		`{"type":"response.completed","response":{"id":"resp_1","usage":{"input_tokens":3,"output_tokens":5}}}`,
	} {
		tracker.Observe(sse.Event{Data: []byte(data)})
	}
	answer := tracker.Answer()
	fmt.Println(answer.ID, answer.Usage.Input, answer.Usage.Output, answer.Terminal)
	// Output:
	// m [hi] <nil>
	// resp_1 3 5 true
}
