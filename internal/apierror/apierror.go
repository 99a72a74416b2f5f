// Package apierror holds the errors that the gateway itself sends to clients: a status, a text that is safe to show,
// and apart from these the cause, which only logs see. A [Shape] writes an error in the form of the API that was
// called, so that SDKs understand it.
package apierror

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is an error that the gateway sends, not an upstream.
type Error struct {
	// Status is the HTTP status, from 400 to 599.
	Status int
	// Text is the message for the client. It holds no address, key or cause.
	Text string
	// RetryAfter, if above zero, becomes the Retry-After header, in seconds rounded up.
	RetryAfter time.Duration
	// Quota says that the error, of status 429, is about money that is spent, and that to try again soon is of no use.
	Quota bool
	// Cause is for logs, or nil.
	Cause error
}

// Error returns the text and the cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Text
	}
	return e.Text + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// From returns the [*Error] in err's chain, or an internal error with err as its cause, whose text tells the client
// nothing of err.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Status: http.StatusInternalServerError, Text: "internal error", Cause: err}
}

// Shape is the form of an API's errors.
type Shape struct {
	contentType string
	body        func(*Error) []byte
	kind        func(status int) (kind string, code *string)
}

// Kind returns the type and the code that the API's errors with a status have, or empty strings where they have none: an error
// within a stream has no status, and says the same.
func (s Shape) Kind(status int) (kind, code string) {
	if s.kind == nil {
		return "", ""
	}
	kind, of := s.kind(status)
	if of != nil {
		code = *of
	}
	return kind, code
}

// Write answers a request with err. It writes no body to a HEAD request.
func (s Shape) Write(w http.ResponseWriter, r *http.Request, err *Error) {
	header := w.Header()
	header.Set("Content-Type", s.contentType)
	header.Set("X-Content-Type-Options", "nosniff")
	if err.RetryAfter > 0 {
		header.Set("Retry-After", strconv.FormatInt(int64((err.RetryAfter+time.Second-1)/time.Second), 10))
	}
	body := s.body(err)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(err.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // It fails only if the client is gone.
	}
}

// Anthropic is the shape of the Messages API.
// https://docs.anthropic.com/en/api/errors
func Anthropic() Shape {
	return Shape{"application/json", func(err *Error) []byte {
		type detail struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		}
		return encode(struct {
			Type  string `json:"type"`
			Error detail `json:"error"`
		}{"error", detail{AnthropicType(err.Status), err.Text}})
	}, func(status int) (string, *string) { return AnthropicType(status), nil }}
}

// AnthropicType returns the type of the Messages API's errors that have a status.
// https://platform.claude.com/docs/en/api/errors
func AnthropicType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return "timeout_error"
	case http.StatusServiceUnavailable, 529:
		return "overloaded_error"
	}
	if status < 500 && status != http.StatusFailedDependency { // So Bedrock says that a model failed.
		return "invalid_request_error"
	}
	return "api_error"
}

// OpenAI is the shape of the Chat Completions and Responses APIs.
// https://platform.openai.com/docs/guides/error-codes
func OpenAI() Shape {
	return Shape{"application/json", func(err *Error) []byte {
		type detail struct {
			Message string  `json:"message"`
			Type    string  `json:"type"`
			Param   *string `json:"param"`
			Code    *string `json:"code"`
		}
		kind, code := openAIType(err.Status)
		if err.Quota {
			kind, code = "insufficient_quota", new("insufficient_quota")
		}
		return encode(struct {
			Error detail `json:"error"`
		}{detail{Message: err.Text, Type: kind, Code: code}})
	}, openAIType}
}

func openAIType(status int) (kind string, code *string) {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error", nil
	case http.StatusForbidden:
		return "permission_error", nil
	case http.StatusTooManyRequests:
		return "rate_limit_error", new("rate_limit_exceeded")
	}
	if status < 500 {
		return "invalid_request_error", nil
	}
	return "server_error", nil
}

// Bedrock is the shape of Bedrock's InvokeModel, as AWS's SDKs read it.
// https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
func Bedrock() Shape {
	return Shape{"application/json", func(err *Error) []byte {
		return encode(struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}{bedrockType(err.Status), err.Text})
	}, func(status int) (string, *string) { return bedrockType(status), nil }}
}

func bedrockType(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "AccessDeniedException"
	case http.StatusNotFound:
		return "ResourceNotFoundException"
	case http.StatusTooManyRequests:
		return "ThrottlingException"
	case http.StatusGatewayTimeout:
		return "ModelTimeoutException"
	case http.StatusServiceUnavailable, 529:
		return "ServiceUnavailableException"
	}
	if status < 500 {
		return "ValidationException"
	}
	return "InternalServerException"
}

// Plain is the shape for paths of no known API.
func Plain() Shape {
	return Shape{"text/plain; charset=utf-8", func(err *Error) []byte { return []byte(err.Text + "\n") }, nil}
}

// ForPath returns the shape of the API that a path belongs to. It goes by the path alone, for errors that come before a
// provider is known.
func ForPath(path string) Shape {
	switch {
	case hasSegments(path, "/messages"), strings.HasSuffix(path, ":rawPredict"), strings.HasSuffix(path, ":streamRawPredict"):
		return Anthropic()
	case hasSegments(path, "/invoke"), hasSegments(path, "/invoke-with-response-stream"), hasSegments(path, "/converse"),
		hasSegments(path, "/converse-stream"), hasSegments(path, "/count-tokens"), hasSegments(path, "/inference-profiles"):
		return Bedrock()
	case hasSegments(path, "/chat/completions"), hasSegments(path, "/responses"), hasSegments(path, "/embeddings"),
		hasSegments(path, "/conversations"):
		return OpenAI()
	}
	return Plain()
}

// hasSegments reports whether path contains segments, at its end or followed by a slash.
func hasSegments(path, segments string) bool {
	return strings.HasSuffix(path, segments) || strings.Contains(path, segments+"/")
}

func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		return []byte("{}") // Strings always marshal.
	}
	return body
}
