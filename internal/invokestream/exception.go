package invokestream

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/apierror"
)

// Exception is an error of Bedrock's.
type Exception struct {
	Name    string // For example "throttlingException"; the case of its first letter varies.
	Message string
}

// FromAnswer returns the error that an answer with a status above 399 reports: by its header X-Amzn-Errortype, or by the
// body, which may also be of a proxy in between. isForeign says that the body is already an error of the Messages API.
func FromAnswer(errorType string, body []byte) (e Exception, isForeign bool) {
	var said struct {
		Type  string          `json:"type"`
		Error json.RawMessage `json:"error"`
		Kind  string          `json:"__type"`
	}
	_ = json.Unmarshal(body, &said) // A body of another kind says nothing.
	if said.Type == "error" && len(said.Error) > 0 {
		return Exception{}, true
	}
	e = Exception{Name: cmp.Or(errorType, said.Kind), Message: messageIn(body)}
	e.Name, _, _ = strings.Cut(e.Name, ":")                // Behind it is an address.
	e.Name = e.Name[strings.LastIndexByte(e.Name, '#')+1:] // In front of it is a name space.
	return e, false
}

// meaning returns the status that the API documents for an exception, and the Messages API's type of such an error. An
// unknown exception is of status 500.
func (e Exception) meaning() (status int, kind string) {
	switch strings.ToLower(e.Name) {
	case "throttlingexception", "modelnotreadyexception", "servicequotaexceededexception", "toomanyrequestsexception":
		return http.StatusTooManyRequests, "rate_limit_error"
	case "validationexception":
		return http.StatusBadRequest, "invalid_request_error"
	case "accessdeniedexception", "unrecognizedclientexception", "expiredtokenexception", "invalidsignatureexception":
		return http.StatusForbidden, "permission_error"
	case "resourcenotfoundexception":
		return http.StatusNotFound, "not_found_error"
	case "modeltimeoutexception":
		return http.StatusRequestTimeout, "timeout_error"
	case "modelstreamerrorexception", "modelerrorexception":
		return http.StatusFailedDependency, "api_error"
	case "serviceunavailableexception":
		return http.StatusServiceUnavailable, "overloaded_error"
	}
	return http.StatusInternalServerError, "api_error"
}

// Status returns the status that an answer with this error has.
func (e Exception) Status() int {
	status, _ := e.meaning()
	return status
}

// Body returns the error as the Messages API writes it, with Bedrock's message word for word: clients decide by its words
// whether they try again.
func (e Exception) Body() []byte {
	_, kind := e.meaning()
	return anthropicError(kind, cmp.Or(e.Message, e.Name, "unknown error"))
}

// BodyFor is Body for an answer whose status is known: it decides where the exception is not known.
func (e Exception) BodyFor(status int) []byte {
	of, kind := e.meaning()
	if of == http.StatusInternalServerError {
		kind = apierror.AnthropicType(status)
	}
	return anthropicError(kind, cmp.Or(e.Message, e.Name, http.StatusText(status), "unknown error"))
}

func anthropicError(kind, message string) []byte {
	type detail struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(struct {
		Type  string `json:"type"`
		Error detail `json:"error"`
	}{"error", detail{kind, message}})
	if err != nil {
		return []byte("{}") // Strings always marshal.
	}
	return body
}
