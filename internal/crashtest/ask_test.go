package crashtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// format is one of the APIs, in the form in which clients use it.
type format struct {
	name string // fakellm's name for it.
	path string
	body string // A format string, for the model, whether to stream, and the prompt.
	last string // The beginning of the event that ends a stream.
}

func formats() []format {
	return []format{
		{
			name: "messages", path: "/anthropic/v1/messages", last: "event: message_stop\n",
			body: `{"model":%s,"max_tokens":1000,"stream":%t,"tools":[{"name":"list_files","input_schema":{"type":"object"}}],` +
				`"messages":[{"role":"user","content":%s}]}`,
		},
		{
			// The request asks for usage. Without that the gateway would ask for it, and withhold it from the client.
			name: "chat", path: "/openai/v1/chat/completions", last: "data: [DONE]",
			body: `{"model":%s,"stream":%t,"stream_options":{"include_usage":true},` +
				`"tools":[{"type":"function","function":{"name":"list_files"}}],"messages":[{"role":"user","content":%s}]}`,
		},
		{
			name: "responses", path: "/openai/v1/responses", last: "event: response.completed\n",
			body: `{"model":%s,"stream":%t,"tools":[{"type":"function","name":"list_files","parameters":{"type":"object"}}],` +
				`"input":[{"role":"user","content":%s}]}`,
		},
	}
}

// ask is a client's request. No other ask of the test has its model, by which records, answers and logs are matched.
type ask struct {
	model   string
	format  format
	stream  bool
	prompt  string
	padding int // How many bytes are added to the prompt.
}

// pace says how long answers take at most.
type pace struct {
	event time.Duration // Before each event of a stream, of which there are twenty or so.
	whole time.Duration // Of an answer that is no stream.
}

// newAsk makes a random ask. Its prompt tells the upstream what to answer.
func newAsk(rng *rand.Rand, model string, pace pace) ask {
	all := formats()
	a := ask{model: model, format: all[rng.IntN(len(all))], stream: rng.IntN(3) > 0}
	delay := upTo(rng, pace.whole)
	if a.stream {
		delay = upTo(rng, pace.event)
	}
	output := 10 + rng.IntN(1000)
	script := []string{
		fmt.Sprintf("[[usage: input=%d output=%d cache_read=%d cache_write=%d thinking=%d]]",
			1+rng.IntN(10_000), output, rng.IntN(10_000), rng.IntN(100), rng.IntN(output)),
		fmt.Sprintf("[[delay: %v]] [[text: Answer to %s:%s.]]", delay, model, strings.Repeat(" word", rng.IntN(12))),
	}
	if rng.IntN(3) == 0 {
		script = append(script, "[[think: What would "+model+" want?]]")
	}
	for n := range rng.IntN(3) {
		script = append(script, fmt.Sprintf(`[[tool: list_files {"path":"%s/%d"}]]`, model, n))
	}
	a.prompt = "Answer " + model + ". " + strings.Join(script, " ")
	return a
}

func (a ask) body() string {
	return fmt.Sprintf(a.format.body, quoted(a.model), a.stream, quoted(a.prompt+strings.Repeat("x", a.padding)))
}

func quoted(text string) string {
	encoded, err := json.Marshal(text)
	if err != nil {
		return `""` // Every string marshals.
	}
	return string(encoded)
}

// isWhole reports whether body is a complete answer: complete JSON, or a stream up to the end of its last event. What
// the connection does after that does not matter to a client.
func (a ask) isWhole(body []byte) bool {
	if !a.stream {
		return json.Valid(body)
	}
	blank := []byte("\n\n")
	last, ended := bytes.CutSuffix(body, blank)
	if before := bytes.LastIndex(last, blank); before >= 0 {
		last = last[before+len(blank):]
	}
	return ended && bytes.HasPrefix(last, []byte(a.format.last))
}
