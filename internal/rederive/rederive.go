// Package rederive derives the facts of an exchange between a client and an upstream from its bytes alone, afterwards.
//
// It is a second decoder, to check the first: it was written from the specification, with encoding/json and over whole
// bodies. It shares only the table of clients, which is data, with the code that the gateway reads along with. What the
// gateway recorded of an exchange must equal what [Derive] returns for its bytes. The code is meant to be plain, not
// fast.
//
//	derived, err := rederive.Derive(exchange)
//	…
//	for _, difference := range derived.Diff(recorded) {
//		…
//	}
//
// It cannot derive what only the gateway knows: who asked, when, and with whose credential.
package rederive

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/contentcoding"
)

// The formats that an exchange can have.
const (
	FormatMessages   = "messages"
	FormatChat       = "chat"
	FormatResponses  = "responses"
	FormatCompact    = "compact"
	FormatEmbeddings = "embeddings"
)

const (
	// largestRequest bounds the decoded size of a request.
	largestRequest = 256 << 20
	// largestAnswer bounds the answers that are read, and their decoded size. Only a stream without a coding can be
	// larger.
	largestAnswer = 64 << 20
)

// ErrNoRequest means that the gateway refuses such a request: it sends and records nothing.
var ErrNoRequest = errors.New("no request of this format")

// Exchange is a request and its answer as they went over the wire.
type Exchange struct {
	Format string // One of the constants above.
	Path   string // The client's, escaped, below the provider's name. Empty: it is not known.
	// RequestHeader and Request are the client's, Request in its content coding.
	RequestHeader http.Header
	Request       []byte
	Status        int // Zero: the upstream did not answer.
	// ResponseHeader and Response are the upstream's, Response in its content coding.
	ResponseHeader http.Header
	Response       []byte
	// Whole says that the upstream ended its answer in good order, as far as its connection shows.
	Whole bool
	// ClientLeft says that the client left before it got more than the bytes in Response.
	ClientLeft bool
	// Abandoned says that reading stopped after the bytes in Response: more may have come.
	Abandoned bool
	// Failure is the status that a gateway answers with where the upstream did not answer or broke off: 504 for a
	// timeout, one from 400 where the client caused the failure, otherwise 502.
	Failure int

	later bool // There was another round before: see DeriveRounds.
}

// Facts are the facts of an exchange. Its fields, and those below, have the names in JSON that reports use.
type Facts struct {
	Model                 string `json:"model"`
	Client                string `json:"client"`
	ClientSessionID       string `json:"client_session_id"` // Empty: the client sent none.
	UserAgent             string `json:"user_agent"`
	CorrelatingToolCallID string `json:"correlating_tool_call_id"` // The id of the last tool result in the request, or empty.

	Prompt      *Prompt      `json:"prompts"` // Nil: no text of a person.
	TokenUsages []TokenUsage `json:"token_usages"`
	ToolUsages  []ToolUsage  `json:"tool_usages"`
	Thoughts    []Thought    `json:"model_thoughts"`

	ErrorType    string `json:"error_type"`    // Empty: a success.
	ErrorMessage string `json:"error_message"` // The upstream's message, empty for none.

	// Ended says that the event came which ends a stream as it should. Bytes after it do not belong to the answer. It
	// is not recorded, and never a difference.
	Ended bool `json:"-"`
	// Unread is what of the answer is not read. It is not recorded, and never a difference.
	Unread Unread `json:"-"`

	// Runs says that the answer ended in good order with calls of the gateway's tools, so that the gateway runs them. Mixed
	// says that it has calls of the client's, too: then the answer is the client's, and otherwise it goes on in another round.
	// WentOn says that it did so after a round before. None is recorded, or a difference.
	Runs, Mixed, WentOn bool `json:"-"`
	// Untold is the usage of an answer that ended in good order and told none. It is recorded of one of several rounds alone.
	Untold *TokenUsage `json:"-"`
	// Streamed says that the answer is a stream, and Foreign that it is none of the API. Neither is recorded, or a difference.
	Streamed, Foreign bool `json:"-"`
}

// Prompt is the text that a person typed.
type Prompt struct {
	Text     string         `json:"prompt"`
	Metadata map[string]any `json:"metadata"`
}

// TokenUsage is the usage of an answer. Input excludes cached tokens.
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
	Input     string         `json:"input"`    // JSON: the model's bytes, or a JSON string of them.
	Injected  bool           `json:"injected"` // The tool is one of the gateway's.
	Metadata  map[string]any `json:"metadata"`
}

// Thought is one piece of reasoning that the model showed.
type Thought struct {
	Content  string         `json:"content"`
	Metadata map[string]any `json:"metadata"`
}

// Derive returns the facts of an exchange. Its error wraps [ErrNoRequest] where the gateway records nothing for such a
// request.
func Derive(exchange Exchange) (Facts, error) {
	format, ok := formats()[exchange.Format]
	if !ok {
		return Facts{}, fmt.Errorf("no format is named %q", exchange.Format)
	}
	body, err := contentcoding.Decode(codingOf(exchange.RequestHeader), exchange.Request, largestRequest, nil)
	if err != nil {
		return Facts{}, fmt.Errorf("%w: %w", ErrNoRequest, err)
	}
	path, isHosted := hostedAt(exchange.Path)
	if isHosted {
		format.insteadOfModel = []string{"messages"}
	}
	fields, err := readRequest(body, format.insteadOfModel)
	if err != nil {
		return Facts{}, fmt.Errorf("%w: %w", ErrNoRequest, err)
	}
	asked := format.request(fields)
	client := recognise(exchange.RequestHeader, asked.system)
	if !isHosted {
		path = hosted{model: fields.text("model"), stream: string(fields["stream"]) == "true"}
	}
	answer := readAnswer(exchange, format, path.stream)

	facts := Facts{
		Model:                 name(cmp.Or(path.model, answer.model)),
		Client:                client.Name,
		ClientSessionID:       name(client.session(exchange.RequestHeader, fields)),
		UserAgent:             name(exchange.RequestHeader.Get("User-Agent")),
		CorrelatingToolCallID: name(asked.toolResultID),
		Prompt:                client.prompt(asked),
		TokenUsages:           answer.tokenUsages(),
		ToolUsages:            answer.toolUsages(asked.tools),
		Thoughts:              answer.thoughtRecords(),
		Ended:                 answer.ended(),
		Unread:                answer.unread,
	}
	goesOn := answer.goesOn(exchange.Format == FormatResponses && string(fields["background"]) == "true")
	if goesOn {
		// What it does is recorded when its final state is read.
		facts.TokenUsages, facts.ToolUsages, facts.Thoughts = nil, nil, nil
	}
	facts.ErrorType, facts.ErrorMessage = answer.outcome(exchange)
	if exchange.Status < 300 && facts.ErrorType == "" && len(facts.TokenUsages) == 0 && !goesOn {
		facts.Untold = answer.untold()
	}
	facts.Streamed, facts.Foreign = answer.streamed, answer.foreign && answer.failure == nil
	if exchange.Status < 300 {
		facts.Runs, facts.Mixed = answer.runs(asked.tools)
	}
	return facts, nil
}

// format holds the differences between the formats.
type format struct {
	request func(object) request
	stream  func([]event) reading
	body    func(object) reading
	// eventKind returns the type of an event, and whether it is read.
	eventKind func(event) (kind string, known bool)
	// isOwn reports whether an event is one of this API, read or not.
	isOwn func(event) bool
	// insteadOfModel are the members that can have the model in the place of the member model.
	insteadOfModel []string
}

func formats() map[string]format {
	return map[string]format{
		FormatMessages: {
			request: messagesRequest, stream: messagesStream, body: messagesBody, eventKind: messagesEvent, isOwn: isMessagesEvent,
			insteadOfModel: []string{"thread", "models", "preset"},
		},
		FormatChat: {
			request: chatRequest, stream: chatStream, body: chatBody, eventKind: chatEvent, isOwn: isChatEvent,
			insteadOfModel: []string{"thread", "models", "preset"},
		},
		FormatResponses: {
			request: responsesRequest, stream: responsesStream, body: responsesBody, eventKind: responsesEvent, isOwn: isResponsesEvent,
			insteadOfModel: []string{
				"prompt", "previous_response_id", "conversation", "agent", "agent_reference", "models", "preset",
			},
		},
		FormatCompact: {
			request: compactRequest, stream: responsesStream, body: compactBody, eventKind: responsesEvent, isOwn: isResponsesEvent,
			insteadOfModel: []string{"input", "previous_response_id"},
		},
		FormatEmbeddings: {
			request: embeddingsRequest, stream: embeddingsStream, body: embeddingsBody, eventKind: embeddingsEvent, isOwn: isNoEvent,
			insteadOfModel: []string{"input"},
		},
	}
}

// readAnswer reads the upstream's answer, as far as it came.
func readAnswer(exchange Exchange, format format, askedForStream bool) reading {
	coding := codingOf(exchange.ResponseHeader)
	body, err := contentcoding.Decode(coding, exchange.Response, largestAnswer, nil)
	stream := isStream(exchange, askedForStream, body)
	tooLarge := len(exchange.Response) > largestAnswer && !(stream && len(body) == len(exchange.Response))
	isCut := errors.Is(err, io.ErrUnexpectedEOF) && exchange.Status < 300 // The coding ends later than the answer does.
	isUnreadable := exchange.Whole && (err != nil && !isCut || tooLarge)
	if isUnreadable && !stream {
		return unreadable()
	}
	if stream {
		found, isFramed := []event(nil), mediaType(exchange) == framed
		if isFramed {
			var isDamaged bool
			found, isDamaged = frames(body)
			isCut = isCut || isDamaged
		} else {
			found = events(body, !exchange.Abandoned)
		}
		answer := format.stream(found)
		answer.streamed = true
		answer.unread = format.unreadIn(answer, found)
		if isUnreadable && !answer.terminated { // Bytes after the end do not belong to the answer and may be anything.
			return unreadable()
		}
		answer.broken = !answer.terminated && (!answer.finished || !exchange.Whole || isCut)
		if exchange.Whole && !isCut && answer.broken && !format.speaks(found) && (isFramed || !endsInHalf(body)) {
			// It is no answer of this API, and its end may be right. But a model's answer is never empty.
			answer.broken, answer.foreign = len(exchange.Response) == 0 && exchange.Status == http.StatusOK, true
		}
		return answer
	}
	if !exchange.Whole || isCut {
		return reading{broken: true}
	}
	answer := format.body(asObject(withoutDone(body)))
	answer.unread = format.unreadIn(answer, nil)
	if answer.foreign && (exchange.Status < 300 && isHalf(body) || exchange.Status == 200 && isBlank(body)) {
		return reading{broken: true}
	}
	return answer
}

// withoutDone returns a body without the byte order mark before its value, and without the end of a stream behind it.
func withoutDone(body []byte) []byte {
	text := strings.TrimPrefix(strings.TrimSpace(string(body)), "\ufeff")
	if value, ok := strings.CutSuffix(text, "[DONE]"); ok {
		text = strings.TrimSpace(strings.TrimSuffix(strings.TrimRight(value, " \t"), "data:"))
	}
	return []byte(text)
}

func isBlank(body []byte) bool { return len(bytes.Trim(body, " \r\n\t")) == 0 }

// unreadable returns an answer whose content coding cannot be decoded.
func unreadable() reading { return reading{unreadable: true} }

// codingOf returns the content coding of a message, which may be given in several header lines.
func codingOf(header http.Header) string {
	return strings.Join(header.Values("Content-Encoding"), ", ")
}

// isStream reports whether an answer, of which body has been decoded, is a stream of events. It can be one if the request
// asked for a stream or the answer says that it is one, and is none if it begins with a JSON value. Where it has no
// beginning, the type counts.
func isStream(exchange Exchange, asked bool, body []byte) bool {
	mediaType := mediaType(exchange)
	if mediaType == framed {
		return true
	}
	if mediaType != "text/event-stream" && !(asked && exchange.Status < 400) {
		return false
	}
	switch mediaType {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/stream+json":
		return true // Values in lines, which are passed on like events.
	}
	saysJSON := mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
	begins := strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(string(body[:min(len(body), 4096)]), " \t\r\n"), "\ufeff"), " \t\r\n")
	if begins != "" {
		return !strings.ContainsAny(begins[:1], `{["`)
	}
	return !saysJSON
}

func mediaType(exchange Exchange) string {
	mediaType, _, _ := mime.ParseMediaType(exchange.ResponseHeader.Get("Content-Type"))
	return mediaType
}

// speaks reports whether one of the events is of the format. A ping is of any.
func (f format) speaks(events []event) bool {
	return slices.ContainsFunc(events, func(e event) bool { return f.isOwn(e) })
}

// endsInHalf reports whether the last event of a stream ends in the middle of a JSON value.
func endsInHalf(body []byte) bool {
	text := strings.ReplaceAll(strings.ReplaceAll(string(body), "\r\n", "\n"), "\r", "\n")
	if strings.HasSuffix(text, "\n\n") || text == "\n" {
		return false
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, line := range slices.Backward(lines) {
		if line == "" {
			return false
		}
		if data, ok := strings.CutPrefix(line, "data"); ok && (data == "" || data[0] == ':') {
			return isHalf([]byte(strings.TrimPrefix(strings.TrimPrefix(data, ":"), " ")))
		}
	}
	return false
}
