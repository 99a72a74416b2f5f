package rederive

import "encoding/json"

// request is a client's request, in terms that the formats share.
type request struct {
	system        string   // The beginning of the system prompt.
	opening       string   // The beginning of the user's first message.
	typed         texts    // The last message that is not the system's, if it is the user's.
	besideResults bool     // That message also has tool results.
	toolResultID  string   // The call id of its last tool result.
	generated     bool     // Clients make such requests for themselves.
	tools         []string // The names of the client's tools.
}

// texts are the texts of a message.
type texts struct {
	parts  []string
	single bool // The message is a string, not a list of parts.
}

func (t texts) first() string {
	if len(t.parts) == 0 {
		return ""
	}
	return t.parts[0]
}

// textsOf returns the texts of a message's content, which is a string or a list of parts.
func textsOf(content json.RawMessage) texts {
	if text, ok := asText(content); ok {
		return texts{parts: []string{text}, single: true}
	}
	var found texts
	for _, part := range (object{"content": content}).objects("content") {
		switch part.text("type") {
		case "text", "input_text":
			found.parts = append(found.parts, part.text("text"))
		}
	}
	return found
}

func isSystem(message object) bool {
	role := message.text("role")
	return role == "system" || role == "developer"
}

// leadingSystem returns the beginning of a system message that comes before all others.
func leadingSystem(messages []object) string {
	for _, message := range messages {
		switch {
		case isSystem(message):
			return textsOf(message["content"]).first()
		case message.has("role"):
			return ""
		}
	}
	return ""
}

func lastNotSystem(messages []object) object {
	var last object
	for _, message := range messages {
		if !isSystem(message) {
			last = message
		}
	}
	return last
}

func opening(messages []object) string {
	for _, message := range messages {
		if message.text("role") == "user" {
			return textsOf(message["content"]).first()
		}
	}
	return ""
}
