package aibridge

import (
	"net/http"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/wire"
)

// recogniseClient returns the client that sent a request, by the most telling of its marks: its system prompt, then a
// header of its own, then its user agent. What nothing marks is [unknownClient], never an error.
func recogniseClient(header http.Header, request wire.Request) client {
	agent := strings.ToLower(header.Get("User-Agent"))
	beginsAgent := func(prefix string) bool { return strings.HasPrefix(agent, prefix) }
	marks := []func(client) bool{
		func(c client) bool { return c.system != "" && strings.HasPrefix(request.System, c.system) },
		func(c client) bool {
			return slices.ContainsFunc(c.headers, func(m headerMark) bool { return m.matches(header) })
		},
		func(c client) bool { return slices.ContainsFunc(c.agents, beginsAgent) },
	}
	for _, mark := range marks {
		if i := slices.IndexFunc(knownClients, mark); i >= 0 {
			return knownClients[i]
		}
	}
	return client{name: unknownClient}
}

// client is what is known of one AI client.
type client struct {
	name     string
	agents   []string // Beginnings of its user agent, in lower case.
	headers  []headerMark
	system   string // Beginning of its system prompt.
	sessions []sessionSource
	// wrappers are the tags of the text blocks that it puts around what a person typed.
	wrappers []string
	// leading are the tags of lines that it puts before it.
	leading []string
	// fixed are texts of its own, or their beginnings, that it sends beside tool results.
	fixed []string
	// own are the beginnings of what it says where it talks to the model for itself.
	own []string
}

// headerMark is a header that only one client sends: with that beginning of its value, or with any where it is empty.
type headerMark struct{ name, value string }

func (m headerMark) matches(header http.Header) bool {
	value := strings.TrimSpace(header.Get(m.name))
	return value != "" && len(value) >= len(m.value) && strings.EqualFold(value[:len(m.value)], m.value)
}

// sessionSource reads a session's id out of a request, or returns nothing.
type sessionSource func(http.Header, wire.Request) string

// session returns the client's own id of the session, of the first source that has one, or nothing.
func (c client) session(header http.Header, request wire.Request) string {
	for _, source := range c.sessions {
		if id := strings.TrimSpace(source(header, request)); id != "" {
			return id
		}
	}
	return ""
}

// typed returns what a person typed of the texts of the last message.
func (c client) typed(request wire.Request) []string {
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
func (c client) wraps(text string) bool {
	return slices.ContainsFunc(c.wrappers, func(tag string) bool { return isWhole(text, tag) })
}

// generates reports whether a prompt is one that the client makes for itself: for a title, or to compact a
// conversation.
func (c client) generates(request wire.Request, prompt string) bool {
	return slices.ContainsFunc(c.own, func(beginning string) bool {
		return strings.HasPrefix(prompt, beginning) || strings.HasPrefix(request.Opening, beginning)
	})
}

// strip takes the client's blocks off both ends of a message that is a single string. What stands between is the
// person's, whatever it looks like.
func (c client) strip(text string) string {
	for stripped := true; stripped; {
		stripped = false
		for _, tag := range c.wrappers {
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

func (c client) withoutLeadingLine(text string) string {
	for _, tag := range c.leading {
		first, rest, _ := strings.Cut(text, "\n")
		if isWhole(strings.TrimSpace(first), tag) {
			return strings.TrimLeft(rest, "\r\n")
		}
	}
	return text
}

// isWhole reports whether text is one block of that tag, from its beginning to its end.
func isWhole(text, tag string) bool {
	closing := "</" + tag + ">"
	return strings.HasPrefix(text, "<"+tag+">") && strings.Index(text, closing) == len(text)-len(closing)
}

// isFixed reports whether a text is the client's own.
func (c client) isFixed(text string) bool {
	return slices.ContainsFunc(c.fixed, func(fixed string) bool {
		if beginning, ok := strings.CutSuffix(fixed, "*"); ok {
			return strings.HasPrefix(text, beginning)
		}
		return text == fixed
	})
}
