package aibridge

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/clients"
	"github.com/coder/aibridged/internal/wire"
)

// client is the row of the table of AI clients for the client that sent a request.
type client clients.Client

// recogniseClient returns the client that sent a request. It goes by the system prompt first, then by headers that only
// one client sends, then by the user agent. A request that nothing marks is from [clients.Unknown]; that is no error.
func recogniseClient(header http.Header, request wire.Request) *client {
	agent := strings.ToLower(header.Get("User-Agent"))
	beginsAgent := func(prefix string) bool { return strings.HasPrefix(agent, prefix) }
	isSent := func(mark clients.HeaderMark) bool { return hasMark(header, mark) }
	marks := []func(*clients.Client) bool{
		func(c *clients.Client) bool { return c.System != "" && strings.HasPrefix(request.System, c.System) },
		func(c *clients.Client) bool { return slices.ContainsFunc(c.Headers, isSent) },
		func(c *clients.Client) bool { return slices.ContainsFunc(c.Agents, beginsAgent) },
	}
	for _, fits := range marks {
		for i := range clients.Known {
			if fits(&clients.Known[i]) {
				return (*client)(&clients.Known[i])
			}
		}
	}
	return &client{Name: clients.Unknown}
}

func hasMark(header http.Header, mark clients.HeaderMark) bool {
	value := strings.TrimSpace(header.Get(mark.Name))
	return value != "" && len(value) >= len(mark.Beginning) && strings.EqualFold(value[:len(mark.Beginning)], mark.Beginning)
}

// session returns the client's own id of the session, from the first place that has one, or an empty string.
func (c *client) session(header http.Header, request wire.Request) string {
	for _, place := range c.Sessions {
		value := header.Get(place.Header)
		switch place.Field {
		case clients.CacheKey:
			value = request.CacheKey
		case clients.UserID:
			value = request.UserID
		}
		if id := strings.TrimSpace(sessionIn(value, place)); id != "" {
			return id
		}
	}
	return ""
}

// sessionIn returns the session's id in the value of a place, or an empty string.
func sessionIn(value string, place clients.Session) string {
	switch {
	case place.Prefix != "":
		if id, ok := strings.CutPrefix(value, place.Prefix); ok {
			return id
		}
		return ""
	case place.Member != "":
		return stringMember(value, place.Member)
	case place.Marker != "":
		at := strings.LastIndex(value, place.Marker)
		if at < 0 || json.Valid([]byte(value)) {
			return ""
		}
		return value[at+len(place.Marker):]
	}
	return value
}

// stringMember returns a string member of a JSON object, or an empty string if text is no object or the member no
// string.
func stringMember(text, name string) string {
	var members map[string]json.RawMessage
	var member string
	if json.Unmarshal([]byte(text), &members) != nil || json.Unmarshal(members[name], &member) != nil {
		return ""
	}
	return member
}

// typed returns those texts of the last message that a person typed.
func (c *client) typed(request wire.Request) []string {
	var typed []string
	for i, part := range request.Prompt {
		if request.PromptIsString {
			part = c.strip(part)
		}
		if i == 0 {
			part = c.withoutLeadingLine(part)
		}
		switch text := strings.TrimSpace(part); {
		case text == "", c.wraps(text), request.BesideToolResults && c.isFixed(text):
		default:
			typed = append(typed, part)
		}
	}
	return typed
}

// wraps reports whether the whole text is one of the client's blocks.
func (c *client) wraps(text string) bool {
	return slices.ContainsFunc(c.Wrappers, func(tag string) bool { return isWhole(text, tag) })
}

// generates reports whether a prompt is one that the client makes for itself: for a title, or to compact a
// conversation.
func (c *client) generates(request wire.Request, prompt string) bool {
	return slices.ContainsFunc(c.Own, func(beginning string) bool {
		return strings.HasPrefix(prompt, beginning) || strings.HasPrefix(request.Opening, beginning)
	})
}

// strip takes the client's blocks off both ends of a message that is a single string. The text between them is the
// person's, even if it looks like a block.
func (c *client) strip(text string) string {
	for stripped := true; stripped; {
		stripped = false
		for _, tag := range c.Wrappers {
			opening, closing := "<"+tag+">", "</"+tag+">"
			if trimmed := strings.TrimLeft(text, " \r\n\t"); strings.HasPrefix(trimmed, opening) {
				if _, rest, ok := strings.Cut(trimmed, closing); ok {
					text, stripped = strings.TrimLeft(rest, "\r\n"), true
				}
			}
			if trimmed := strings.TrimRight(text, " \r\n\t"); strings.HasSuffix(trimmed, closing) {
				if start := strings.LastIndex(trimmed, opening); start >= 0 {
					text, stripped = strings.TrimRight(trimmed[:start], "\r\n"), true
				}
			}
		}
	}
	return text
}

func (c *client) withoutLeadingLine(text string) string {
	first, rest, _ := strings.Cut(text, "\n")
	if c.Leading == "" || !isWhole(strings.TrimSpace(first), c.Leading) {
		return text
	}
	return strings.TrimLeft(rest, "\r\n")
}

// isWhole reports whether text is one block of that tag, from its beginning to its end.
func isWhole(text, tag string) bool {
	closing := "</" + tag + ">"
	return strings.HasPrefix(text, "<"+tag+">") && strings.Index(text, closing) == len(text)-len(closing)
}

// isFixed reports whether a text is the client's own.
func (c *client) isFixed(text string) bool {
	return slices.Contains(c.FixedTexts, text) ||
		slices.ContainsFunc(c.FixedBeginnings, func(beginning string) bool { return strings.HasPrefix(text, beginning) })
}
