// Package rederive says what an exchange between a client and an upstream was, from its bytes alone and after the fact.
//
// It is a second opinion: written from the specification, on encoding/json, over whole bodies, without anything of what
// the gateway reads along with. What the gateway recorded of an exchange must equal what [Derive] makes of its bytes.
// Speed does not matter here, plainness does.
//
//	derived, err := rederive.Derive(exchange)
//	…
//	for _, difference := range derived.Diff(recorded) {
//		…
//	}
//
// It does not say what only the gateway can know: who asked, when, and with whose credential.
package rederive

import (
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/coder/aibridged/internal/contentcoding"
)

// The formats that an exchange can have.
const (
	FormatMessages  = "messages"
	FormatChat      = "chat"
	FormatResponses = "responses"
)

// largestBody bounds what decoding a body may give.
const largestBody = 256 << 20

// ErrNoRequest means that the gateway refuses such a request, and sends and records nothing.
var ErrNoRequest = errors.New("no request of this format")

// Exchange is a request and its answer, as they went over the wire.
type Exchange struct {
	Format string // One of the constants above.
	// RequestHeader and Request are the client's, Request in its content coding.
	RequestHeader http.Header
	Request       []byte
	Status        int
	// ResponseHeader and Response are the upstream's, Response in its content coding.
	ResponseHeader http.Header
	Response       []byte
	// Whole says that the upstream ended its answer in good order, as far as its connection tells.
	Whole bool
	// ClientLeft says that the client left, before it had what came after the bytes in Response.
	ClientLeft bool
}

// Facts is what an exchange was.
type Facts struct {
	Model                 string
	Client                string
	ClientSessionID       string // Empty: the client sent none.
	CorrelatingToolCallID string // Of the last tool result in the request, or empty.

	Prompt      *Prompt // Nil: nobody typed anything.
	TokenUsages []TokenUsage
	ToolUsages  []ToolUsage
	Thoughts    []Thought

	ErrorType    string // Empty: a success.
	ErrorMessage string // In the upstream's words, and empty where it had none.
}

// Prompt is what a person typed.
type Prompt struct {
	Text     string
	Metadata map[string]any
}

// TokenUsage is what an answer cost. Input excludes cached tokens.
type TokenUsage struct {
	MessageID  string
	Input      int64
	Output     int64
	CacheRead  int64
	CacheWrite int64
	Metadata   map[string]any
}

// ToolUsage is one call that the model made.
type ToolUsage struct {
	MessageID string
	CallID    string
	ItemID    string
	Tool      string
	Input     string // JSON: the bytes that the model wrote, or a string of them.
	Metadata  map[string]any
}

// Thought is one piece of reasoning that the model showed.
type Thought struct {
	Content  string
	Metadata map[string]any
}

// Derive says what an exchange was. Its error wraps [ErrNoRequest] where there is nothing that could have been
// recorded.
func Derive(exchange Exchange) (Facts, error) {
	format, ok := formats()[exchange.Format]
	if !ok {
		return Facts{}, fmt.Errorf("no format is named %q", exchange.Format)
	}
	body, err := contentcoding.Decode(exchange.RequestHeader.Get("Content-Encoding"), exchange.Request, largestBody)
	if err != nil {
		return Facts{}, fmt.Errorf("%w: %w", ErrNoRequest, err)
	}
	fields, err := readRequest(body)
	if err != nil {
		return Facts{}, fmt.Errorf("%w: %w", ErrNoRequest, err)
	}
	asked := format.request(fields)
	client := recognise(exchange.RequestHeader, asked.system)
	answer := readAnswer(exchange, format, string(fields["stream"]) == "true")

	facts := Facts{
		Model:                 storable(fields.text("model")),
		Client:                client.name,
		ClientSessionID:       storable(client.session(exchange.RequestHeader, fields)),
		CorrelatingToolCallID: storable(asked.toolResultID),
		Prompt:                client.prompt(asked),
		TokenUsages:           answer.tokenUsages(),
		ToolUsages:            answer.toolUsages(),
		Thoughts:              answer.thoughtRecords(),
	}
	facts.ErrorType, facts.ErrorMessage = answer.outcome(exchange)
	return facts, nil
}

// format is what differs between formats.
type format struct {
	request func(object) request
	stream  func([]event) answer
	body    func(object) answer
}

func formats() map[string]format {
	return map[string]format{
		FormatMessages:  {request: messagesRequest, stream: messagesStream, body: messagesBody},
		FormatChat:      {request: chatRequest, stream: chatStream, body: chatBody},
		FormatResponses: {request: responsesRequest, stream: responsesStream, body: responsesBody},
	}
}

// readAnswer reads what the upstream sent, as far as it came.
func readAnswer(exchange Exchange, format format, askedForStream bool) answer {
	body, err := contentcoding.Decode(exchange.ResponseHeader.Get("Content-Encoding"), exchange.Response, largestBody)
	if err != nil && exchange.Whole {
		return answer{unreadable: true}
	}
	if isStream(exchange, askedForStream) {
		answer := format.stream(events(body, exchange.Whole || !exchange.ClientLeft))
		answer.streamed = true
		answer.broken = !answer.terminated && (!answer.finished || !exchange.Whole)
		return answer
	}
	if !exchange.Whole {
		return answer{broken: true}
	}
	return format.body(asObject(body))
}

// isStream reports whether an answer is a stream of events. Where the upstream does not say, the request did.
func isStream(exchange Exchange, asked bool) bool {
	contentType := exchange.ResponseHeader.Get("Content-Type")
	if contentType == "" {
		return asked && exchange.Status < 400
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == "text/event-stream"
}
