package rederive

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"
)

// reading is what an upstream answered, in terms that the formats share.
type reading struct {
	id    string
	model string

	usage       usageReports
	figureNames figureNames
	preliminary bool // Later figures would have followed.
	calls       []*call
	thoughts    []*thought
	failure     *failure // Nil: it reported none.

	cutsCalls bool     // It ended for a reason for which a call may have been cut, or for which the client has to go on.
	answered  []string // The ids of calls whose results are in the answer.

	unread     Unread
	background bool   // The upstream calls it the answer to a background request.
	status     string // The response's, as it was reported last.

	streamed   bool
	terminated bool // The event that ends a stream came.
	finished   bool // The answer is whole if nothing follows.
	broken     bool // The rest is missing.
	foreign    bool // It is not an answer of this API.
	unreadable bool // Its content coding cannot be decoded.
}

// ended reports whether the answer has ended as it should: later bytes do not belong to it.
func (a reading) ended() bool { return a.terminated && a.failure == nil }

// goesOn reports whether the upstream goes on with the answer in the background, if the request asked for that.
func (a reading) goesOn(asked bool) bool {
	isOpen := a.streamed && !a.terminated || !a.streamed && (a.status == "queued" || a.status == "in_progress")
	return (asked || a.background) && isOpen
}

// call is a model's call, as far as it came.
type call struct {
	id, item, tool string
	input          text
	withoutInput   string            // The input of a call without input.
	origin         map[string]string // Where the tool comes from.
	whose          whose
	// whole says that an object which calls itself whole brought the call: the events that make it may follow.
	whole bool
}

// from notes where the tool of a call comes from, as far as an object says it.
func (c *call) from(said object) {
	for _, name := range []string{"namespace", "server_label", "server_name"} {
		if text := said.text(name); text != "" && c.origin[name] == "" {
			if c.origin == nil {
				c.origin = map[string]string{}
			}
			c.origin[name] = text
		}
	}
}

// text is a text that grows. It may be told more than once, under several names or once more as a whole.
type text struct {
	content string
	told    map[string]int // How much of it came under each name.
	repeats bool           // A piece of JSON began with all of it.
	either  int            // Where a piece of JSON is that may be all of it.
}

// hearJSON is hear for a piece of JSON. Some servers begin each piece with all that came before, which shows where the text
// would be no JSON with the piece behind it. If it would be, the piece may be either, and the next one shows it.
func (t *text) hearJSON(piece string) {
	before := t.content[t.either:]
	begins := before != "" && strings.HasPrefix(piece, before)
	if begins && (t.repeats || !isBeginning(t.content, piece)) {
		t.content, t.repeats, t.either = piece, true, 0
		t.told = nil
		t.knows("", len(piece))
		return
	}
	t.either = 0
	if begins {
		t.either = len(t.content)
	}
	t.hear("", piece)
}

// isBeginning reports whether an object or an array can go on with a piece. Of other texts nobody can tell.
func isBeginning(soFar, piece string) bool {
	if !strings.HasPrefix(soFar, "{") && !strings.HasPrefix(soFar, "[") {
		return true
	}
	err := json.Unmarshal([]byte(soFar+piece), new(any))
	var syntax *json.SyntaxError
	return !errors.As(err, &syntax) || syntax.Offset == int64(len(soFar+piece)) && syntax.Error() == "unexpected end of JSON input"
}

// hear notes the next piece under a name. A name that is behind may repeat what others said, and then go on.
func (t *text) hear(name, piece string) {
	rest := t.content[t.told[name]:]
	if strings.HasPrefix(rest, piece) {
		t.knows(name, t.told[name]+len(piece))
		return
	}
	t.content += strings.TrimPrefix(piece, rest)
	t.knows(name, len(t.content))
}

func (t *text) knows(name string, length int) {
	if t.told == nil {
		t.told = map[string]int{}
	}
	t.told[name] = length
}

// complete notes the whole text, of which the beginning may be known.
func (t *text) complete(whole string) {
	if strings.HasPrefix(whole, t.content) {
		t.content = whole
	}
}

// replace notes the final text, unless it is empty.
func (t *text) replace(final string) {
	if final == "" || final == t.content {
		return
	}
	t.content = final
	for name := range t.told {
		t.told[name] = len(final)
	}
	t.knows("", len(final))
}

// thought is a piece of reasoning, as far as it came.
type thought struct {
	source string
	text
	redacted bool
	whole    bool     // Like that of a call.
	echoes   *thought // The same content as there counts once.
}

func (a *reading) call(made call) *call {
	a.calls = append(a.calls, &made)
	return &made
}

func (a *reading) thought(source string) *thought {
	t := &thought{source: source}
	a.thoughts = append(a.thoughts, t)
	return t
}

// fail notes a failure that the upstream reported. The first one caused the others, and stays.
func (a *reading) fail(told *failure) { a.failure = cmp.Or(a.failure, told) }

func (a *reading) toolUsages(own []string) []ToolUsage {
	var usages []ToolUsage
	for _, made := range a.calls {
		input := cmp.Or(made.input.content, made.withoutInput)
		metadata := map[string]any{}
		for at, text := range made.origin {
			flagShortened(metadata, text)
			metadata[at] = name(text)
		}
		usages = append(usages, ToolUsage{
			MessageID: name(a.id),
			CallID:    name(made.id),
			ItemID:    name(made.item),
			Tool:      name(made.tool),
			Input:     asInput(input),
			Injected:  made.isInjected(own),
			Metadata:  flagShortened(sanitized(metadata, input), a.id, made.id, made.item, made.tool),
		})
	}
	return usages
}

func (a *reading) thoughtRecords() []Thought {
	var records []Thought
	for _, t := range a.thoughts {
		metadata := sanitized(map[string]any{"source": t.source}, t.content)
		switch {
		case t.content == "" && !t.redacted, t.echoes != nil && t.content == t.echoes.content:
			continue
		case t.content == "":
			metadata["redacted"] = true
		}
		records = append(records, Thought{Content: storable(t.content), Metadata: metadata})
	}
	return records
}

func (a *reading) tokenUsages() []TokenUsage {
	if len(a.usage.objects) == 0 && !a.figureNames.billsBeside(a.usage) {
		return nil
	}
	usage := a.figureNames.record(a.usage)
	a.nameIn(&usage)
	if a.broken || a.preliminary {
		usage.Metadata["partial"] = true
	}
	return []TokenUsage{usage}
}

// nameIn notes in a usage of which answer it is.
func (a *reading) nameIn(usage *TokenUsage) {
	usage.MessageID = name(a.id)
	if a.model != "" {
		usage.Metadata["model"] = name(a.model)
	}
	usage.Metadata = flagShortened(usage.Metadata, a.id, a.model)
}

// untold returns the usage of one of several rounds whose answer told none.
func (a *reading) untold() *TokenUsage {
	usage := &TokenUsage{Metadata: map[string]any{Untold: true}}
	a.nameIn(usage)
	return usage
}
