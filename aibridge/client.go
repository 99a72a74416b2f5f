package aibridge

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/clients"
	"github.com/coder/aibridged/internal/wire"
)

// client is what is known of the AI client that sent a request, and how it is read.
type client clients.Client

// recogniseClient returns the client that sent a request, by the most telling of its marks: its system prompt, then a
// header of its own, then its user agent. What nothing marks is [clients.Unknown], never an error.
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

// session returns the client's own id of the session, of the first place that has one, or nothing.
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

// sessionIn returns the id of a session in the value at its place, or nothing.
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

// stringMember returns a member of a JSON object, or nothing where text is none or the member no string.
func stringMember(text, name string) string {
	var members map[string]json.RawMessage
	var member string
	if json.Unmarshal([]byte(text), &members) != nil || json.Unmarshal(members[name], &member) != nil {
		return ""
	}
	return member
}

// typed returns what a person typed of the texts of the last message.
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

// wraps reports whether a text is, whole, one of the client's blocks.
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

// strip takes the client's blocks off both ends of a message that is a single string. What stands between is the
// person's, whatever it looks like.
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
