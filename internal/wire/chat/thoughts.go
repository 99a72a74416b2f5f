package chat

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// thoughtNames are the members of a message in which servers send a thought: as a string, as an object, or as a list of
// these. If a message has several of them, they say the same, and the first one counts. The last one is the content's
// parts that are thoughts.
var thoughtNames = [...]string{
	"reasoning_content", "reasoning", "reasoning_text", "thinking", "reasoning_details", "thinking_blocks",
	"chain_of_thought", "content",
}

// hiddenNames are the members with a thought that nobody can read.
var hiddenNames = [...]string{"reasoning_opaque", "reasoning_signature", "encrypted_content", "redacted_thinking"}

// telling is what one message or delta says of a thought.
type telling struct {
	texts  [len(thoughtNames)]string // By name.
	hidden bool
}

// readMember reads a member that may hold a thought. It reports false for a member that looks like one and is none that
// it knows.
func (t *telling) readMember(name string, value gjson.Result) bool {
	if value.Type == gjson.Null {
		return true
	}
	for teller, known := range thoughtNames {
		if name == known {
			return t.read(teller, value)
		}
	}
	for _, known := range hiddenNames {
		if name == known {
			t.hidden = t.hidden || isFilled(value)
			return true
		}
	}
	return !strings.HasPrefix(name, "reasoning") && !strings.HasPrefix(name, "thinking")
}

func isFilled(value gjson.Result) bool {
	return value.Type == gjson.String && value.Str != "" || value.Type == gjson.JSON && len(value.Raw) > len("{}")
}

// readContent reads the parts of a content that are thoughts. A string is text only.
func (t *telling) readContent(content gjson.Result) bool {
	if !content.IsArray() {
		return content.Type == gjson.String || content.Type == gjson.Null
	}
	understood := true
	content.ForEach(func(_, part gjson.Result) bool {
		switch kind := part.Get("type").Str; {
		case isThought(kind):
			understood = t.read(len(thoughtNames)-1, part) && understood
		default:
			understood = saysNothing(kind) && understood
		}
		return true
	})
	return understood
}

func isThought(kind string) bool {
	return kind == "thinking" || kind == "redacted_thinking" || strings.HasPrefix(kind, "reasoning")
}

// saysNothing reports whether a part of that kind is known to be neither a thought nor a call.
func saysNothing(kind string) bool {
	switch kind {
	case "text", "output_text", "refusal", "image_url", "image", "output_image", "input_audio", "audio", "file", "document",
		"reference", "citation":
		return true
	}
	return false
}

// read adds what a value says under a name.
func (t *telling) read(teller int, value gjson.Result) bool {
	switch {
	case value.Type == gjson.Null:
		return true
	case value.Type == gjson.String:
		if text := wire.String(value); t.texts[teller] == "" {
			t.texts[teller] = text
		} else {
			t.texts[teller] += text
		}
		return true
	case value.IsArray():
		understood := true
		value.ForEach(func(_, part gjson.Result) bool {
			understood = t.read(teller, part) && understood
			return true
		})
		return understood
	case value.IsObject():
		return t.readPart(teller, value)
	}
	return false
}

// readPart reads an object: its text, or what stands there in the place of a text that nobody can read.
func (t *telling) readPart(teller int, part gjson.Result) bool {
	understood := false
	for _, name := range [...]string{"data", "encrypted_content", "signature"} {
		if hidden := part.Get(name); hidden.Exists() {
			understood = true
			t.hidden = t.hidden || isFilled(hidden)
		}
	}
	for _, name := range [...]string{"text", "thinking", "summary", "reasoning", "content"} {
		text := part.Get(name)
		switch {
		case !text.Exists():
		case text.Type == gjson.Null, text.Type == gjson.String && text.Str == "":
			understood = true
		default:
			return t.read(teller, text)
		}
	}
	return understood
}

// addThought adds what a message or a delta says to the choice's thought, of which there is at most one.
func (p *parts) addThought(choice int64, told telling, as role) {
	first := -1
	for teller, text := range told.texts {
		if text != "" {
			first = teller
			break
		}
	}
	if first < 0 && !told.hidden {
		return
	}
	thought := p.thought(choice)
	if thought == nil {
		return
	}
	thought.Redacted = thought.Redacted || told.hidden
	if first < 0 {
		return
	}
	text := told.texts[first]
	soFar := &thought.Content
	if as == whole || as == piece && strings.HasPrefix(text, soFar.String()) {
		soFar.Complete(text)
		return
	}
	soFar.AddFrom(first, text)
	for teller, text := range told.texts {
		if text != "" && teller != first {
			soFar.Heard(teller)
		}
	}
}

func (p *parts) thought(choice int64) *wire.Thinking {
	of := p.of(choice)
	if of.thought == nil {
		of.thought = p.gathering.Thought("thinking")
	}
	return of.thought
}
