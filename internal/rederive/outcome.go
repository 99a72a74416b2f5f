package rederive

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// failure is an error that an upstream reported.
type failure struct{ kind, code, message string }

// readFailure returns the error in an event or a body of that kind, or nil. The error is the member error, an object or
// a string, or the event itself. An error that is null or empty is none.
func readFailure(data object, kind string) *failure {
	if text := data.text("error"); text != "" {
		return &failure{message: text}
	}
	told := data.object("error")
	read := failure{kind: told.text("type"), code: word(told, "code"), message: told.text("message")}
	if told == nil && kind == "error" {
		read = failure{code: word(data, "code"), message: data.text("message")} // The object's type is that of the event.
	}
	if read == (failure{}) && kind != "error" {
		return nil
	}
	return &read
}

// word returns a member that is a string or a number, as codes can be.
func word(o object, name string) string {
	if n, ok := o.count(name); ok {
		return strconv.FormatInt(n, 10)
	}
	return o.text(name)
}

// outcome returns how an exchange ended: the error type, and the upstream's message.
func (a *reading) outcome(exchange Exchange) (errorType, message string) {
	told := cmp.Or(a.failure, &failure{})
	switch {
	case exchange.Status == 0 && exchange.ClientLeft:
		return "client_closed", ""
	case exchange.later && (exchange.Status == 0 && exchange.Failure == 502 || exchange.Status != 0 && isRefused(exchange)):
		return "truncated", "" // The client has the beginning of the answer, or would have it.
	case exchange.Status == 0:
		return ofStatus(exchange.Failure), ""
	case isRefused(exchange):
		return "server_error", "" // The answer is neither passed on nor read: the client gets a 502.
	case a.broken && !a.streamed && !exchange.ClientLeft && exchange.Failure != 0 && exchange.Failure != 502:
		return ofStatus(exchange.Failure), "" // Nothing was passed on yet, so the client gets the error.
	case a.broken && !a.streamed:
		return broken(exchange), ""
	case exchange.Status >= 300:
		return ofStatus(exchange.Status), shortened(told.message)
	case a.failure != nil:
		return told.errorType(), shortened(told.message)
	case a.unreadable:
		return "", "" // It was relayed unread, so nothing is known of an error.
	case a.finished && exchange.ClientLeft:
		return "", "" // The client has what it asked for.
	case a.broken:
		return broken(exchange), ""
	case a.foreign:
		return "unknown", ""
	}
	return "", ""
}

func broken(exchange Exchange) string {
	if exchange.ClientLeft {
		return "client_closed"
	}
	return "truncated"
}

// isRefused reports whether a gateway does not pass an answer on: a redirect, a status that HTTP does not have, or a
// header that is too long or holds control characters.
func isRefused(exchange Exchange) bool {
	if slices.Contains([]int{301, 302, 303, 307, 308}, exchange.Status) || exchange.Status < 200 || exchange.Status > 599 {
		return true
	}
	var values []string
	for _, lines := range exchange.ResponseHeader {
		values = append(values, lines...)
	}
	isControl := func(c rune) bool { return c != '\t' && (c < ' ' || c == 0x7f) }
	return len(values) > 1000 ||
		slices.ContainsFunc(values, func(value string) bool { return strings.ContainsFunc(value, isControl) })
}

func ofStatus(status int) string {
	switch status {
	case 400, 404, 413, 422:
		return "bad_request"
	case 401, 403:
		return "unauthorized"
	case 429:
		return "rate_limited"
	case 503, 529:
		return "overloaded"
	case 408, 504:
		return "timeout"
	}
	if status >= 500 && status <= 599 {
		return "server_error"
	}
	return "unknown"
}

// errorType returns the error type of a failure without a status: by its type, or else by its code.
func (f *failure) errorType() string {
	meanings := map[string][]string{
		"bad_request":  {"invalid_request_error", "not_found_error", "request_too_large", "invalid_prompt"},
		"unauthorized": {"authentication_error", "permission_error"},
		"rate_limited": {"rate_limit_error", "rate_limit_exceeded", "insufficient_quota"},
		"overloaded":   {"overloaded_error"},
		"timeout":      {"timeout_error"},
		"server_error": {"api_error", "server_error"},
	}
	for _, word := range []string{f.kind, f.code} {
		for meaning, words := range meanings {
			if slices.Contains(words, word) {
				return meaning
			}
		}
		if status, err := strconv.Atoi(word); err == nil {
			return ofStatus(status)
		}
	}
	return "unknown"
}

// longestMessage is how many bytes a record keeps of a message.
const longestMessage = 1024

// shortened cuts a message between characters, to at most longestMessage bytes.
func shortened(message string) string {
	message = storable(message)
	if len(message) <= longestMessage {
		return message
	}
	return strings.ToValidUTF8(message[:longestMessage], "")
}
