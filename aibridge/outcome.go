package aibridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/coder/aibridged/internal/upstream"
	"github.com/coder/aibridged/internal/wire"
)

// outcome is how an interception ended; its zero value is a success.
type outcome struct {
	errorType ErrorType
	message   string
}

// outcome judges the exchange, which is over.
func (x *exchange) outcome() outcome {
	ctx := x.ctx
	if x.panicked {
		return outcome{ErrorServer, "internal error"}
	}
	if x.failure != nil {
		switch {
		case clientLeft(ctx):
			return outcome{ErrorClientClosed, "the client left before the answer began"}
		case len(x.answers) > 0 && x.failure.Status == http.StatusBadGateway:
			return outcome{ErrorTruncated, x.failure.Text}
		}
		return outcome{errorTypeOf(x.failure.Status), x.failure.Text}
	}
	if len(x.answers) == 0 {
		return outcome{ErrorUnknown, "the request was not sent"}
	}
	last := x.answers[len(x.answers)-1]
	seen := last.said()
	switch {
	case last.status >= http.StatusMultipleChoices:
		return outcome{errorTypeOf(last.status), failureMessage(seen.Failure, fmt.Sprintf("the upstream answered with status %d", last.status))}
	case seen.Failure != (wire.Failure{}):
		return outcome{failureType(seen.Failure), failureMessage(seen.Failure, "the upstream reported an error")}
	case seen.Terminal, seen.Complete && clientLeft(ctx):
		return outcome{} // Whoever leaves after that has what they asked for.
	case x.client.stalled.Load(), !last.ended && ctx.Err() == nil:
		return outcome{ErrorClientClosed, "the client stopped reading"}
	case last.ended && last.err == nil && (seen.Complete || last.unread):
		return outcome{}
	case last.ended && last.err == nil:
		return outcome{ErrorUnknown, "the upstream's answer is none of this API"}
	case clientLeft(ctx):
		return outcome{ErrorClientClosed, "the client left before the end of the answer"}
	case ctx.Err() != nil:
		return outcome{ErrorTruncated, "the gateway ended the request"}
	}
	return outcome{ErrorTruncated, breakText(last.err)}
}

// breakText says why an answer broke off, without the addresses that network errors have.
func breakText(err error) string {
	if errors.Is(err, errTruncated) {
		return err.Error()
	}
	return upstream.Failure(err).Text
}

// clientLeft reports whether a request's context ended because its client went away. The gateway cancels requests of
// its own accord with another cause.
func clientLeft(ctx context.Context) bool {
	return ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled)
}

// errorTypeOf says what a status means for records.
func errorTypeOf(status int) ErrorType {
	switch status {
	case 400, 404, 413, 422:
		return ErrorBadRequest
	case 401, 403:
		return ErrorUnauthorized
	case 429:
		return ErrorRateLimited
	case 503, 529:
		return ErrorOverloaded
	case 408, 504:
		return ErrorTimeout
	}
	if status >= 500 {
		return ErrorServer
	}
	return ErrorUnknown
}

// failureType says the same of an error that came within an answer, by the provider's word for it, or else its code.
func failureType(failure wire.Failure) ErrorType {
	if meaning := wordType(failure.Type); meaning != ErrorUnknown {
		return meaning
	}
	return wordType(failure.Code)
}

// wordType says what a word or a code for an error means. Some codes are statuses.
func wordType(word string) ErrorType {
	switch word {
	case "invalid_request_error", "not_found_error", "request_too_large", "invalid_prompt":
		return ErrorBadRequest
	case "authentication_error", "permission_error":
		return ErrorUnauthorized
	case "rate_limit_error", "rate_limit_exceeded", "insufficient_quota":
		return ErrorRateLimited
	case "overloaded_error":
		return ErrorOverloaded
	case "timeout_error":
		return ErrorTimeout
	case "api_error", "server_error":
		return ErrorServer
	}
	if status, err := strconv.Atoi(word); err == nil && status <= 599 {
		return errorTypeOf(status)
	}
	return ErrorUnknown
}

func failureMessage(failure wire.Failure, fallback string) string {
	switch {
	case failure.Message != "":
		return failure.Message
	case failure.Type != "":
		return failure.Type
	}
	return fallback
}
