package aibridge

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/keys"
	"github.com/coder/aibridged/internal/wire"
)

// storedMembers are the members of a request's body that name what it continues at the upstream: an id, or an object that
// has one.
var storedMembers = [...]string{"previous_response_id", "conversation", "thread"}

// mostSeals is how many of the values in one request that belong to an account are looked at, from the last one on.
const mostSeals = 64

// askFor returns what a request's body asks of a key of a pool once edits are made of it: where the id that the client knows
// stands for another one, only the account that has that one can go on with it.
func askFor(pool *keys.Pool, model string, body jsonedit.Object, plain []byte, edits []jsonedit.Edit) keys.Ask {
	ask := keys.Ask{Model: model, Seals: sealsIn(pool, plain)}
	ask.Seals = append(ask.Seals, referredItems(pool, body, plain)...)
	ask.Bound = len(ask.Seals) > 0
	for _, name := range storedMembers {
		value, _ := body.After(name, edits)
		if id := idIn(value); id != "" {
			ask.Stored = id
			break
		}
	}
	return ask
}

// isBound reports whether a body has something that an upstream has encrypted for one account.
func isBound(plain []byte) bool {
	for range wire.EncryptedIn(plain) {
		return true
	}
	return false
}

// sealsIn returns the seals of what an upstream has encrypted, from the last one on: that is the one that is the most likely
// to be remembered, and to be of the account that serves the conversation now.
func sealsIn(pool *keys.Pool, plain []byte) []keys.Seal {
	var seals []keys.Seal
	for value := range wire.EncryptedIn(plain) {
		if seals = append(seals, pool.Seal(value)); len(seals) == mostSeals {
			break
		}
	}
	return seals
}

// referredItems returns the seals of the items that a request of the Responses API names in its input and that the upstream
// has stored.
func referredItems(pool *keys.Pool, body jsonedit.Object, plain []byte) []keys.Seal {
	if !bytes.Contains(plain, []byte(`"item_reference"`)) {
		return nil
	}
	input, _ := body.Get("input")
	var seals []keys.Seal
	for _, id := range slices.Backward(wire.ItemReferences(input)) {
		if seals = append(seals, pool.SealOf(id)); len(seals) == mostSeals {
			break
		}
	}
	return seals
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
	id, _ := jsonedit.String(value)
	return id
}

// askOfPath returns what a path that is passed through asks of a key. A path names what is stored in a segment of its route
// that is an id; below a route that an entry of the configuration has opened, any segment may be one.
func askOfPath(pool *keys.Pool, of route, path string) keys.Ask {
	var ask keys.Ask
	if start, end, ok := of.model(path); ok && strings.Contains(of.path, modelPlace) {
		ask.Model = unescaped(path[start:end])
	}
	if pool.Len() < 2 {
		return ask
	}
	ask.Stored = unescaped(of.storedID(path))
	if of.opened {
		for segment := range strings.SplitSeq(strings.TrimPrefix(path, of.path), "/") {
			if segment != "" && len(ask.Seals) < mostSeals {
				ask.Seals = append(ask.Seals, pool.SealOf(unescaped(segment)))
			}
		}
	}
	return ask
}

// unescaped returns a part of a path that has been judged.
func unescaped(part string) string {
	if plain, err := url.PathUnescape(part); err == nil {
		return plain
	}
	return part
}
