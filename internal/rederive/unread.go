package rederive

import (
	"slices"
	"strings"
)

// Unread counts what an upstream sent and this package does not read. What the gateway's own decoder does not read is no
// more than that: a test holds the two against each other.
type Unread struct {
	Members map[string]int // Members of usage objects, by their path. A null counts as no member.
	Events  map[string]int // Events of a stream, by their type.
}

// longestUnread is how many bytes the name of something unread may have.
const longestUnread = 128

func (u *Unread) member(path string) {
	if u.Members == nil {
		u.Members = map[string]int{}
	}
	u.Members[unreadName(path)]++
}

func (u *Unread) event(kind string) {
	if u.Events == nil {
		u.Events = map[string]int{}
	}
	u.Events[unreadName(kind)]++
}

// Add adds what another answer has that is not read.
func (u *Unread) Add(other Unread) {
	for path, n := range other.Members {
		u.member(path)
		u.Members[unreadName(path)] += n - 1
	}
	for kind, n := range other.Events {
		u.event(kind)
		u.Events[unreadName(kind)] += n - 1
	}
}

func unreadName(text string) string {
	text = name(text)
	if len(text) > longestUnread {
		return strings.ToValidUTF8(text[:longestUnread], "")
	}
	return text
}

// unreadIn returns what is not read of an answer with these events, if it is a stream.
func (f format) unreadIn(answer reading, events []event) Unread {
	var u Unread
	for range answer.usage.odd {
		u.member("usage")
	}
	for _, report := range answer.usage.all() {
		answer.figureNames.unreadBelow("", report, &u)
	}
	for _, event := range events {
		if strings.TrimSpace(event.data) == "" || event.name == "ping" {
			continue
		}
		if kind, known := f.eventKind(event); !known {
			u.event(kind)
		}
	}
	return u
}

// unreadBelow notes the values in an object that have no meaning.
func (names figureNames) unreadBelow(path string, usage object, u *Unread) {
	for member := range usage {
		at := path + member
		switch below := usage.object(member); {
		case !usage.has(member):
		case below != nil:
			names.unreadBelow(at+".", below, u)
		case names.lists[at] != nil:
			for _, one := range usage.objects(member) {
				kind := one.text("type")
				if !slices.Contains(names.lists[at], kind) {
					kind = "*"
				}
				names.unreadBelow(at+"."+kind+".", one, u)
			}
		case !names.reads(at):
			u.member(at)
		default:
			if _, ok := usage.figure(member); !ok && slices.Contains(names.paths(), at) {
				u.member(at) // It stands in the place of a figure, and is none.
			}
		}
	}
}

// reads reports whether the value at a path has a meaning.
func (names figureNames) reads(path string) bool {
	for list := range names.lists {
		rest, isIn := strings.CutPrefix(path, list+".")
		if isIn && (strings.HasPrefix(rest, "message.") || strings.HasSuffix(rest, ".type") || strings.HasSuffix(rest, ".model")) {
			return true // The message's own are in the other figures.
		}
	}
	return slices.Contains(names.labels, path) || slices.Contains(names.paths(), path)
}

// paths returns the paths of all figures.
func (names figureNames) paths() []string {
	paths := slices.Concat(names.input, names.output, names.total, names.read, names.write, names.uncached, names.reasoning, names.withCached)
	for _, extra := range names.extras {
		paths = append(paths, extra...)
	}
	return paths
}

// messagesEvent returns the type of an event of the Messages API, and whether it is read.
func messagesEvent(e event) (kind string, known bool) {
	data, kind := e.object()
	known = slices.Contains([]string{
		"message_start", "message", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
		"message_stop", "ping",
	}, kind)
	return kind, known || readFailure(data, kind) != nil
}

// chatEvent returns the kind of an event of the Chat Completions API, whose events have no types, and whether it is read.
func chatEvent(e event) (kind string, known bool) {
	data, kind := e.object()
	if object := data.text("object"); object != "" {
		kind = object
	}
	known = data.list("choices") != nil || data.object("usage") != nil || readFailure(data, kind) != nil
	return kind, known || kind == "ping" || strings.TrimSpace(e.data) == "[DONE]"
}

// responsesEvent returns the type of an event of the Responses API, and whether it is read.
func responsesEvent(e event) (kind string, known bool) {
	data, kind := e.object()
	known = slices.Contains([]string{
		"response.created", "response.queued", "response.in_progress", "response.completed", "response.incomplete", "response.failed",
		"response.output_item.added", "response.output_item.done",
	}, kind) || slices.Contains(responsesQuiet(), kind) || data.text("object") == "response"
	if strings.HasPrefix(kind, "response.") {
		return kind, known || isItemEvent(kind)
	}
	return kind, known || readFailure(data, kind) != nil
}

func isMessagesEvent(e event) bool {
	kind, known := messagesEvent(e)
	return known && kind != "ping"
}

func isChatEvent(e event) bool {
	kind, known := chatEvent(e)
	return known && kind != "ping"
}

func isResponsesEvent(e event) bool {
	data, kind := e.object()
	return strings.HasPrefix(kind, "response.") || data.text("object") == "response" || readFailure(data, kind) != nil
}

// isNoEvent is for an API without streams.
func isNoEvent(event) bool { return false }
