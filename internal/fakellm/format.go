package fakellm

import (
	"encoding/json"
	"slices"
	"strings"
)

// format holds the parts of one API that differ from the others.
type format struct {
	name      string
	requestID string // The response header with the request's id.
	answerID  string // The beginning of answers' ids.

	read func(body []byte) (ask, error)
	// insist refuses what this API refuses in a conversation. It fills in what only the server remembers of it.
	insist func(a *ask, m *memory) error
	// remember keeps what insist needs to know about an answer. Nil: nothing.
	remember func(a ask, made reply, m *memory)
	// call completes a scripted tool call. It fails if the format cannot express the call.
	call func(c ToolCall, request ask, id func(prefix string) string) (ToolCall, error)
	// events returns the whole stream. Its last event is the terminal one.
	events func(ask, reply) []event
	// body returns the blocking answer, with the same content.
	body func(ask, reply) object
	// failure returns the error event that ends a stream after sequence other events.
	failure func(f failure, sequence int) event
	// refusal returns the body of an error that takes the place of an answer.
	refusal func(r refusal, requestID string) object
}

// event is one event of a stream. Chat's have no name.
type event struct {
	name string
	data []byte
}

// object is a JSON object.
type object map[string]any

// encode writes JSON as the APIs do: without a newline, and with <, > and & as they are.
func encode(v any) []byte {
	var buffer strings.Builder
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return []byte("{}") // Cannot happen: strings, numbers and JSON that was read before always marshal.
	}
	return []byte(strings.TrimSuffix(buffer.String(), "\n"))
}

// pieces splits text into the texts of a stream's deltas, one word each.
func pieces(text string) []string {
	split := strings.SplitAfter(text, " ")
	return slices.DeleteFunc(split, func(s string) bool { return s == "" })
}

// inputPieces splits the input of a tool call between characters, into pieces of at most 12.
func inputPieces(input string) []string {
	const size = 12
	var split []string
	for part := range slices.Chunk([]rune(input), size) {
		split = append(split, string(part))
	}
	return split
}

// orEmptyObject returns input, or if it is empty {}, which a model writes for a function without parameters.
func orEmptyObject(input string) string {
	if input == "" {
		return "{}"
	}
	return input
}
