package wire

import (
	"strings"

	"github.com/tidwall/gjson"
)

const (
	// largeMessage is the size from which a message is known by its beginning: clients put hundreds of kilobytes into their
	// first one, and to read these costs more than all else that is done for it.
	largeMessage = 16 << 10
	// identityBytes is how much of such a message counts.
	identityBytes = 4 << 10
)

// Identity returns a text by which a conversation is known again by the user's first message: its texts, or the beginning of a
// large message as the client wrote it. Clients mark what is to be cached behind a text, so that these marks, which move from
// request to request, are in none of both.
func Identity(message []byte) string {
	if len(message) > largeMessage {
		return string(message[:identityBytes])
	}
	content := View(message).Get("content")
	if content.Type == gjson.String {
		return Kept(content)
	}
	var texts strings.Builder
	content.ForEach(func(_, part gjson.Result) bool {
		texts.WriteString(part.Get("text").Str)
		return true
	})
	return texts.String()
}

// Role returns the role of a message, and its type. It reads no more than it must: content, which can be large, mostly stands
// behind them.
func Role(message []byte) (role, kind string) {
	View(message).ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "role":
			role = Kept(value)
		case "type":
			kind = Kept(value)
		}
		return role == ""
	})
	return role, kind
}
