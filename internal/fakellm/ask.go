package fakellm

import (
	"encoding/json"
	"strings"
)

// ask is a request as its format reads it.
type ask struct {
	model    string
	stream   bool
	messages []utterance
	tools    map[string]tool // By name; empty: the request declares none.
	names    []string        // Of the tools, in the order in which they are declared.

	usageWanted bool                       // Chat only: the stream ends with a chunk of usage.
	thinking    bool                       // Messages only: the request asks for thoughts.
	echo        map[string]json.RawMessage // Responses only: the request's fields, which the answer repeats.
	chain       chain                      // Responses only.
}

// declare notes a tool.
func (a *ask) declare(name string, t tool) {
	if _, known := a.tools[name]; !known {
		a.names = append(a.names, name)
	}
	a.tools[name] = t
}

// tool says how a declared tool is called.
type tool struct {
	custom    bool // Its input is text, not JSON.
	namespace string
}

// utterance is one message of the conversation so far, or the format's equivalent of a message.
type utterance struct {
	from    speaker
	texts   []string
	results []string // Results of tools. If there are any, texts is not what a person typed.

	// What the formats insist on is checked by the rest.
	calls    []string  // The ids of the calls in it.
	answers  []string  // The ids of the calls that results answer.
	late     bool      // Messages only: a result comes after something else.
	thoughts []thought // Messages only.
	order    []string  // Messages only: the signatures of thoughts and the ids of calls, as they come.
	item     item      // Responses only.
}

// thought is a thought that comes back.
type thought struct {
	text, signature string
}

type speaker int

const (
	fromSystem speaker = iota
	fromUser
	fromModel
	fromTools
)

// speakerOf returns the speaker for a role. An unknown role counts as the system, whose messages need no answer.
func speakerOf(role string) speaker {
	switch role {
	case "user":
		return fromUser
	case "assistant":
		return fromModel
	case "tool":
		return fromTools
	}
	return fromSystem
}

// conversation is the state of a conversation.
type conversation struct {
	typed   []string // The texts of the last message that the user typed.
	round   int      // How many times tool results have come back since then.
	results []string // The tool results to answer now.
}

// conversation returns the state of the conversation. Messages of results that follow each other count as one round.
func (a ask) conversation() conversation {
	var c conversation
	last := fromSystem
	for _, m := range a.messages {
		switch {
		case m.from == fromSystem:
			continue
		case len(m.results) > 0:
			if last != fromTools {
				c.round++
				c.results = nil
			}
			c.results = append(c.results, m.results...)
			last = fromTools
			continue
		case m.from == fromUser:
			c = conversation{typed: m.texts}
		case m.from == fromModel:
			c.results = nil
		}
		last = m.from
	}
	return c
}

// prompt returns the last of the typed texts, since clients put texts of their own before that of the person.
func (c conversation) prompt() string {
	if len(c.typed) == 0 {
		return ""
	}
	return c.typed[len(c.typed)-1]
}

// words counts the words of all messages. They are the input tokens if the request does not script them.
func (a ask) words() int64 {
	var sum int64
	for _, m := range a.messages {
		sum += countWords(m.texts...) + countWords(m.results...)
	}
	return max(sum, 1)
}

func countWords(texts ...string) int64 {
	var sum int64
	for _, text := range texts {
		sum += int64(len(strings.Fields(text)))
	}
	return sum
}

// part is one part of a message's content, in any of the formats.
type part struct {
	Type    string          `json:"type"`
	Text    string          `json:"text"`
	Content json.RawMessage `json:"content"` // The content of a tool result.

	ID        string `json:"id"`          // Of a call.
	ToolUseID string `json:"tool_use_id"` // Of the call that a result answers.
	Thinking  string `json:"thinking"`
	Signature string `json:"signature"`
}

// parts reads content, which is a string or a list of parts. Anything else holds no text.
func parts(content json.RawMessage) ([]part, error) {
	switch {
	case len(content) > 0 && content[0] == '"':
		var text string
		if err := json.Unmarshal(content, &text); err != nil {
			return nil, err
		}
		return []part{{Type: "text", Text: text}}, nil
	case len(content) > 0 && content[0] == '[':
		var list []part
		err := json.Unmarshal(content, &list)
		return list, err
	}
	return nil, nil
}

// texts returns the texts in content.
func texts(content json.RawMessage) ([]string, error) {
	list, err := parts(content)
	var found []string
	for _, p := range list {
		if p.Text != "" {
			found = append(found, p.Text)
		}
	}
	return found, err
}

// result returns the text of a tool result.
func result(content json.RawMessage) (string, error) {
	found, err := texts(content)
	return strings.Join(found, "\n"), err
}
