package aibridge

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/coder/aibridged/internal/wire"
)

// sessionKeys turns the keys that a format has for what it keeps into those under which it is kept. A key that only the place in a
// conversation tells is the session's alone, if the client tells one: two sessions that begin with the same words would get each
// other's results. Its zero value is that of a client that tells none.
type sessionKeys struct {
	end string // Of the keys that are the session's.
}

func keysOfSession(session string) sessionKeys {
	if session == "" {
		return sessionKeys{}
	}
	sum := sha256.Sum256([]byte(session))
	return sessionKeys{end: base64.RawURLEncoding.EncodeToString(sum[:12])}
}

// kept returns the keys under which what has these keys is kept.
func (s sessionKeys) kept(keys []string) []string {
	all := make([]string, len(keys))
	for i, key := range keys {
		if all[i] = key; strings.HasSuffix(key, wire.PlaceMark) {
			all[i] += s.end
		}
	}
	return all
}

// found returns what was found, by the keys of the format.
func (s sessionKeys) found(turns map[string][]byte) map[string][]byte {
	if s.end == "" {
		return turns
	}
	for key, turn := range turns {
		if before, ok := strings.CutSuffix(key, wire.PlaceMark+s.end); ok {
			delete(turns, key)
			turns[before+wire.PlaceMark] = turn
		}
	}
	return turns
}
