// Package rederive says what an exchange between a client and an upstream was, from its bytes alone and after the fact.
//
// It is a second opinion: written from the specification, on encoding/json, over whole bodies, without anything of what
// the gateway reads along with but the table of clients, which is data. What the gateway recorded of an exchange must equal what [Derive] makes of its bytes.
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
	"strings"

	"github.com/coder/aibridged/internal/contentcoding"
)

// The formats that an exchange can have.
const (
	FormatMessages  = "messages"
	FormatChat      = "chat"
	FormatResponses = "responses"
)

const (
	// largestRequest bounds what decoding a request may give.
	largestRequest = 256 << 20
	// largestAnswer bounds the answers that are read, and what decoding one may give. Only a stream without a coding can
	// be larger.
	largestAnswer = 64 << 20
)

// ErrNoRequest means that the gateway refuses such a request, and sends and records nothing.
var ErrNoRequest = errors.New("no request of this format")

// Exchange is a request and its answer, as they went over the wire.
type Exchange struct {
	Format string // One of the constants above.
	// RequestHeader and Request are the client's, Request in its content coding.
	RequestHeader http.Header
	Request       []byte
	Status        int // Zero: the upstream did not answer.
	// ResponseHeader and Response are the upstream's, Response in its content coding.
	ResponseHeader http.Header
	Response       []byte
	// Whole says that the upstream ended its answer in good order, as far as its connection tells.
	Whole bool
	// ClientLeft says that the client left, before it had what came after the bytes in Response.
	ClientLeft bool
	// Abandoned says that nobody read on after the bytes in Response: more may have come.
	Abandoned bool
	// Failure is the status that a gateway has for what went wrong, where the upstream did not answer or broke off: 504
	// where time ran out, 502 elsewhere, or one from 400 where it was the client's own.
	Failure int
}

// Facts is what an exchange was. Its fields, and those below, have the names in JSON that reports have for them.
type Facts struct {
	Model                 string `json:"model"`
	Client                string `json:"client"`
	ClientSessionID       string `json:"client_session_id"` // Empty: the client sent none.
	UserAgent             string `json:"user_agent"`
	CorrelatingToolCallID string `json:"correlating_tool_call_id"` // Of the last tool result in the request, or empty.

	Prompt      *Prompt      `json:"prompts"` // Nil: nobody typed anything.
	TokenUsages []TokenUsage `json:"token_usages"`
	ToolUsages  []ToolUsage  `json:"tool_usages"`
	Thoughts    []Thought    `json:"model_thoughts"`

	ErrorType    string `json:"error_type"`    // Empty: a success.
	ErrorMessage string `json:"error_message"` // In the upstream's words, and empty where it had none.

	// Ended says that the event came which ends a stream as it should. What an upstream sends after that is no part of
	// its answer. It is no fact that is recorded, and never a difference.
	Ended bool `json:"-"`
}

// Prompt is what a person typed.
type Prompt struct {
	Text     string         `json:"prompt"`
	Metadata map[string]any `json:"metadata"`
}

// TokenUsage is what an answer cost. Input excludes cached tokens.
type TokenUsage struct {
	MessageID  string         `json:"msg_id"`
	Input      int64          `json:"input_tokens"`
	Output     int64          `json:"output_tokens"`
	CacheRead  int64          `json:"cache_read_input_tokens"`
	CacheWrite int64          `json:"cache_write_input_tokens"`
	Metadata   map[string]any `json:"metadata"`
}

// ToolUsage is one call that the model made.
type ToolUsage struct {
	MessageID string         `json:"msg_id"`
	CallID    string         `json:"tool_call_id"`
	ItemID    string         `json:"item_id"`
	Tool      string         `json:"tool"`
	Input     string         `json:"input"` // JSON: the bytes that the model wrote, or a string of them.
	Metadata  map[string]any `json:"metadata"`
}

// Thought is one piece of reasoning that the model showed.
type Thought struct {
	Content  string         `json:"content"`
	Metadata map[string]any `json:"metadata"`
}

// Derive says what an exchange was. Its error wraps [ErrNoRequest] where there is nothing that could have been
// recorded.
func Derive(exchange Exchange) (Facts, error) {
	format, ok := formats()[exchange.Format]
	if !ok {
		return Facts{}, fmt.Errorf("no format is named %q", exchange.Format)
	}
	body, err := contentcoding.Decode(codingOf(exchange.RequestHeader), exchange.Request, largestRequest)
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
		Model:                 name(fields.text("model")),
		Client:                client.Name,
		ClientSessionID:       name(client.session(exchange.RequestHeader, fields)),
		UserAgent:             name(exchange.RequestHeader.Get("User-Agent")),
		CorrelatingToolCallID: name(asked.toolResultID),
		Prompt:                client.prompt(asked),
		TokenUsages:           answer.tokenUsages(),
		ToolUsages:            answer.toolUsages(),
		Thoughts:              answer.thoughtRecords(),
		Ended:                 answer.ended(),
	}
	facts.ErrorType, facts.ErrorMessage = answer.outcome(exchange)
	return facts, nil
}

// format is what differs between formats.
type format struct {
	request func(object) request
	stream  func([]event) reading
	body    func(object) reading
}

func formats() map[string]format {
	return map[string]format{
		FormatMessages:  {request: messagesRequest, stream: messagesStream, body: messagesBody},
		FormatChat:      {request: chatRequest, stream: chatStream, body: chatBody},
		FormatResponses: {request: responsesRequest, stream: responsesStream, body: responsesBody},
	}
}

// readAnswer reads what the upstream sent, as far as it came.
func readAnswer(exchange Exchange, format format, askedForStream bool) reading {
	coding, stream := codingOf(exchange.ResponseHeader), isStream(exchange, askedForStream)
	body, err := contentcoding.Decode(coding, exchange.Response, largestAnswer)
	tooLarge := len(exchange.Response) > largestAnswer && !(stream && len(body) == len(exchange.Response))
	isUnreadable := exchange.Whole && (err != nil || tooLarge)
	if isUnreadable && !stream {
		return unreadable()
	}
	if stream {
		answer := format.stream(events(body, !exchange.Abandoned))
		answer.streamed = true
		if isUnreadable && !answer.terminated { // What comes behind the end is none of the answer, whatever it is.
			return unreadable()
		}
		answer.broken = !answer.terminated && (!answer.finished || !exchange.Whole)
		return answer
	}
	if !exchange.Whole {
		return reading{broken: true}
	}
	return format.body(asObject(body))
}

// unreadable is an answer whose content coding cannot be undone.
func unreadable() reading { return reading{unreadable: true} }

// codingOf returns the content coding of a message, which may be told in several lines.
func codingOf(header http.Header) string {
	return strings.Join(header.Values("Content-Encoding"), ", ")
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
