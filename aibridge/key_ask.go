package aibridge

import (
	"bytes"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/keys"
)

// storedMembers are the members of a request's body that name what it continues at the upstream: an id, or an object that
// has one.
var storedMembers = [...]string{"previous_response_id", "conversation", "thread"}

// isBound reports whether a request has, at any depth, the member whose value an upstream has encrypted for one account.
func isBound(plain []byte) bool { return bytes.Contains(plain, []byte(`"encrypted_content"`)) }

// askFor returns what a request's body asks of a key. Clients write what is bound to an account as the upstream sent it.
func askFor(model string, body jsonedit.Object, plain []byte) keys.Ask {
	ask := keys.Ask{Model: model, Bound: isBound(plain)}
	for _, name := range storedMembers {
		value, _ := body.Get(name)
		if id := idIn(value); id != "" {
			ask.Stored = id
			break
		}
	}
	return ask
}

// idIn returns the id that a JSON value is or has, or an empty string.
func idIn(value []byte) string {
	if len(value) > 0 && value[0] == '{' {
		object, err := jsonedit.Parse(value)
		if err != nil {
			return ""
		}
		value, _ = object.Get("id")
	}
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	return string(value[1 : len(value)-1]) // Escapes stay: it is only compared.
}
