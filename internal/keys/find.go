package keys

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// finding is what an answer says of its key. Its zero value says nothing.
type finding struct {
	state State         // Empty: the answer is not about the key.
	wait  time.Duration // How long the key is to rest; zero: the answer does not say.
}

// ReadsBody reports whether the body of an answer with this status tells what the status alone does not.
func ReadsBody(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusTooManyRequests:
		return true
	}
	return false
}

// sign is what a provider says of a key or a request in an error with a status: the error's code or type, or a text that
// its message begins with or has, in lower case. Messages may quote what a client sent, so a text that is held against a
// key must be at the beginning.
type sign struct {
	status int
	code   string
	begins string
	has    string
}

// deadKeys are the signs that a key has no credit left or is disabled.
var deadKeys = [...]sign{
	{status: http.StatusBadRequest, begins: "your credit balance is too low"},        // Anthropic.
	{status: http.StatusBadRequest, begins: "this organization has been disabled"},   // Anthropic.
	{status: http.StatusBadRequest, begins: "your organization has been disabled"},   // Anthropic.
	{status: http.StatusBadRequest, code: "billing_hard_limit_reached"},              // OpenAI.
	{status: http.StatusUnauthorized, code: "account_deactivated"},                   // OpenAI.
	{status: http.StatusUnauthorized, begins: "this organization has been disabled"}, // Anthropic.
	{status: http.StatusTooManyRequests, code: "insufficient_quota"},                 // OpenAI.
	{status: http.StatusTooManyRequests, code: "billing_not_active"},                 // OpenAI.
	{status: http.StatusTooManyRequests, code: "billing_hard_limit_reached"},         // OpenAI.
	{status: http.StatusTooManyRequests, begins: "your credit balance is too low"},   // Anthropic, in other places.
	{status: http.StatusPaymentRequired},                                             // OpenRouter and others.
}

// requestsAlone are the signs that only the request is refused: no rest of its key would help it.
var requestsAlone = [...]sign{
	{status: http.StatusUnauthorized, has: "input item id does not belong"}, // Copilot: it has an item of another user.
	{status: http.StatusTooManyRequests, begins: "request too large"},       // OpenAI: larger than the limit of a minute.
	{status: http.StatusTooManyRequests, has: "long context"},               // Anthropic: the plan has no long contexts.
	{status: http.StatusTooManyRequests, has: "prompt is too long"},
	{status: http.StatusTooManyRequests, code: "context_length_exceeded"},
}

// otherAccounts are the signs that what a request continues or has is not of the account that it was sent to. Such a request
// was not worked on.
var otherAccounts = [...]sign{
	{status: http.StatusBadRequest, code: "previous_response_not_found"},      // OpenAI.
	{status: http.StatusBadRequest, begins: "previous response with id"},      // OpenAI, in other places.
	{status: http.StatusBadRequest, begins: "conversation with id"},           // OpenAI, in other places.
	{status: http.StatusBadRequest, begins: "item with id"},                   // OpenAI, in other places.
	{status: http.StatusBadRequest, code: "invalid_encrypted_content"},        // OpenAI.
	{status: http.StatusBadRequest, begins: "the encrypted content for item"}, // OpenAI, in other places.
}

// isOfAnotherAccount reports whether an answer says that what the request continues or has is not of its key's account.
func isOfAnotherAccount(answer Answer) bool {
	if answer.Status == http.StatusNotFound {
		return true
	}
	return answer.Status == http.StatusBadRequest && errorOf(decode(answer.Body)).isAny(otherAccounts[:], answer.Status)
}

// find reads what an answer says of its key.
func find(answer Answer, now time.Time) finding {
	if !ReadsBody(answer.Status) {
		return finding{}
	}
	body := decode(answer.Body)
	said := errorOf(body)
	switch {
	case said.isAny(deadKeys[:], answer.Status):
		return finding{state: Dead}
	case answer.Status == http.StatusBadRequest, said.isAny(requestsAlone[:], answer.Status):
		return finding{}
	case answer.Status == http.StatusUnauthorized:
		return finding{state: Unauthorized}
	}
	return finding{state: Limited, wait: waitOf(answer.Header, body, now)}
}

// decode returns the JSON value of an error's body, or nil if it is none. Google's errors are arrays: the first counts.
func decode(body []byte) any {
	var value any
	if json.Unmarshal(body, &value) != nil {
		return nil
	}
	if list, ok := value.([]any); ok && len(list) > 0 {
		return list[0]
	}
	return value
}

// said is what the body of an error says, in lower case.
type said struct {
	codes   []string
	message string
}

// errorOf reads the shapes that errors have: an object with an error, which is an object or a text, or with a detail, or
// the error itself.
func errorOf(body any) said {
	object, _ := body.(map[string]any)
	for _, name := range [...]string{"error", "detail"} {
		switch inner := object[name].(type) {
		case map[string]any:
			object = inner
		case string:
			return said{message: strings.ToLower(inner)}
		}
	}
	var of said
	for _, name := range [...]string{"code", "type", "status"} {
		if code, ok := object[name].(string); ok {
			of.codes = append(of.codes, strings.ToLower(code))
		}
	}
	message, _ := object["message"].(string)
	of.message = strings.ToLower(message)
	return of
}

func (s said) isAny(signs []sign, status int) bool {
	for _, sign := range signs {
		if sign.status == status && s.is(sign) {
			return true
		}
	}
	return false
}

func (s said) is(sign sign) bool {
	if sign.code == "" {
		return strings.HasPrefix(s.message, sign.begins) && strings.Contains(s.message, sign.has)
	}
	for _, code := range s.codes {
		if code == sign.code {
			return true
		}
	}
	return false
}
