package aibridge

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/upstream"
	"github.com/coder/aibridged/internal/wire"
)

// outcome is how an interception ended; its zero value is a success.
type outcome struct {
	errorType ErrorType
	message   string
}

// ending is what only the relay knows about how a request ended. The zero ending is that of an answer that was relayed.
type ending struct {
	failure  *apierror.Error // The gateway's own answer in the place of the upstream's, or nil.
	panicked bool
	left     bool // The client went away.
	ended    bool // The gateway ended the request.
	stalled  bool // The client stopped reading.
}

// outcome judges an interception that is over.
func (i *interception) outcome(e ending) outcome {
	switch {
	case e.panicked:
		return outcome{ErrorServer, "internal error"}
	case e.failure != nil && e.left:
		return outcome{ErrorClientClosed, "the client left before the answer began"}
	case e.failure != nil && i.pending && e.failure.Status == http.StatusForbidden: // A limit of ours, and nobody's credential.
		return outcome{ErrorUnknown, e.failure.Text}
	case e.failure != nil && i.pending && e.failure.Status == http.StatusBadGateway && i.failed() != (wire.Failure{}):
		return outcome{failureType(i.failed()), failureMessage(i.failed(), "the upstream reported an error")}
	case e.failure != nil && e.failure.Status == http.StatusBadGateway && !isNoKey(e.failure) && i.isBroken():
		return outcome{ErrorTruncated, e.failure.Text}
	case e.failure != nil && (len(i.rounds) == 0 || !isNoKey(e.failure)): // Else the answer to the last key says why.
		return outcome{errorTypeOf(e.failure.Status), e.failure.Text}
	case len(i.rounds) == 0:
		return outcome{ErrorUnknown, "the request was not sent"}
	}
	last := i.rounds[len(i.rounds)-1]
	seen := last.said()
	switch {
	case i.continues(seen) && (e.left || e.stalled):
		return outcome{ErrorClientClosed, "the client left before the end of the answer"}
	case i.continues(seen) && e.ended:
		return outcome{ErrorTruncated, "the gateway ended the request"}
	case last.status >= http.StatusMultipleChoices:
		return outcome{errorTypeOf(last.status), failureMessage(seen.Failure, fmt.Sprintf("the upstream answered with status %d", last.status))}
	case seen.Failure != (wire.Failure{}):
		return outcome{failureType(seen.Failure), failureMessage(seen.Failure, "the upstream reported an error")}
	case seen.Terminal, seen.Complete && e.left:
		return outcome{} // A client that leaves now has what it asked for.
	case e.stalled, !last.ended && !e.left && !e.ended:
		return outcome{ErrorClientClosed, "the client stopped reading"}
	case last.ended && last.err == nil && !last.isForeign():
		return outcome{}
	case last.ended && last.err == nil:
		return outcome{ErrorUnknown, "the upstream's answer is none of this API"}
	case e.left:
		return outcome{ErrorClientClosed, "the client left before the end of the answer"}
	case e.ended:
		return outcome{ErrorTruncated, "the gateway ended the request"}
	}
	return outcome{ErrorTruncated, breakText(last.err)}
}

// continues reports whether another round follows the one that said this, which is not known before that has ended: tools of the
// gateway were called in it.
func (i *interception) continues(last wire.Answer) bool {
	return !i.final && i.toolOf != nil && slices.ContainsFunc(last.ToolCalls, func(call wire.ToolCall) bool {
		_, ours := i.toolOf(call.Name)
		return ours
	})
}

// failed returns the error that the upstream reported within the last round's answer, or the zero value.
func (i *interception) failed() wire.Failure {
	if len(i.rounds) == 0 || i.rounds[len(i.rounds)-1].status >= http.StatusMultipleChoices {
		return wire.Failure{}
	}
	return i.rounds[len(i.rounds)-1].said().Failure
}

// isBroken reports whether an answer had begun, so that a failure after that broke it off. Answers that refused a key were whole.
func (i *interception) isBroken() bool {
	return slices.ContainsFunc(i.rounds, func(r *round) bool {
		return r.status < http.StatusMultipleChoices || !r.ended || r.err != nil
	})
}

// breakText says why an answer broke off, without the addresses that are in network errors.
func breakText(err error) string {
	if errors.Is(err, errTruncated) || errors.Is(err, errHalf) {
		return err.Error()
	}
	return upstream.Failure(err).Text
}

// errorTypeOf returns the error type that records have for a status.
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

// failureType returns the error type of an error within an answer: by the error's type or, if that is unknown, by its
// code.
func failureType(failure wire.Failure) ErrorType {
	if meaning := wordType(failure.Type); meaning != ErrorUnknown {
		return meaning
	}
	return wordType(failure.Code)
}

// wordType returns the error type for a provider's type or code of an error. Some codes are HTTP statuses.
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
