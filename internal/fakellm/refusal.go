package fakellm

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
)

// refusal is an error status instead of an answer.
type refusal struct {
	status     int
	kind       string // The error type in the body; empty: the API's usual one for the status.
	message    string
	retryAfter string // The header's value, which need not be valid; empty: no header.

	code, param string // OpenAI's; empty: the usual code for the status, and no parameter.
}

func (r *refusal) Error() string { return r.message }

func badRequest(text string, values ...any) error {
	return &refusal{status: http.StatusBadRequest, message: fmt.Sprintf(text, values...)}
}

// badParam is badRequest with the parameter that OpenAI's errors name.
func badParam(param, text string, values ...any) error {
	return &refusal{status: http.StatusBadRequest, param: param, message: fmt.Sprintf(text, values...)}
}

func (r *refusal) write(w http.ResponseWriter, f format, requestID string) {
	if r.retryAfter != "" {
		w.Header().Set("Retry-After", r.retryAfter)
	}
	writeJSON(w, r.status, encode(f.refusal(*r, requestID)))
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // It fails only if the client is gone.
}

// statusOverloaded is Anthropic's own status for an overloaded server.
const statusOverloaded = 529

func anthropicRefusal(r refusal, requestID string) object {
	return object{
		"type":       "error",
		"error":      object{"type": cmp.Or(r.kind, anthropicKind(r.status)), "message": r.message},
		"request_id": requestID,
	}
}

func anthropicKind(status int) string {
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
	case statusOverloaded:
		return "overloaded_error"
	}
	if status < http.StatusInternalServerError {
		return "invalid_request_error"
	}
	return "api_error"
}

func openAIRefusal(r refusal, _ string) object {
	kind, code := "invalid_request_error", any(nil)
	switch {
	case r.status == http.StatusUnauthorized:
		code = "invalid_api_key"
	case r.status == http.StatusTooManyRequests:
		kind, code = "requests", "rate_limit_exceeded"
	case r.status >= http.StatusInternalServerError:
		kind = "server_error"
	}
	param := any(nil)
	if r.param != "" {
		param = r.param
	}
	if r.code != "" {
		code = r.code
	}
	return object{"error": object{"type": cmp.Or(r.kind, kind), "message": r.message, "param": param, "code": code}}
}
