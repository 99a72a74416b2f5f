package rederive

import "cmp"

// reading is what an upstream answered, in terms that the formats share.
type reading struct {
	id    string
	model string
	tier  string // The service tier.

	figures     figures
	figureNames figureNames
	preliminary bool // Later figures would have followed.
	calls       []*call
	thoughts    []*thought
	failure     *failure // Nil: it reported none.

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
	id, item, tool, input string
	withoutInput          string // The input of a call without input.
}

// thought is a piece of reasoning, as far as it came.
type thought struct {
	source, content string
	redacted        bool
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

func (a *reading) toolUsages() []ToolUsage {
	var usages []ToolUsage
	for _, made := range a.calls {
		input := cmp.Or(made.input, made.withoutInput)
		usages = append(usages, ToolUsage{
			MessageID: name(a.id),
			CallID:    name(made.id),
			ItemID:    name(made.item),
			Tool:      name(made.tool),
			Input:     asInput(input),
			Metadata:  flagShortened(sanitized(map[string]any{}, input), a.id, made.id, made.item, made.tool),
		})
	}
	return usages
}

func (a *reading) thoughtRecords() []Thought {
	var records []Thought
	for _, t := range a.thoughts {
		metadata := sanitized(map[string]any{"source": t.source}, t.content)
		switch {
		case t.content == "" && !t.redacted:
			continue
		case t.content == "":
			metadata["redacted"] = true
		}
		records = append(records, Thought{Content: storable(t.content), Metadata: metadata})
	}
	return records
}

func (a *reading) tokenUsages() []TokenUsage {
	if a.figures == nil {
		return nil
	}
	usage := a.figureNames.record(a.figures)
	usage.MessageID = name(a.id)
	if a.model != "" {
		usage.Metadata["model"] = name(a.model)
	}
	if a.tier != "" {
		usage.Metadata["service_tier"] = name(a.tier)
	}
	usage.Metadata = flagShortened(usage.Metadata, a.id, a.model, a.tier)
	if a.broken || a.preliminary {
		usage.Metadata["partial"] = true
	}
	return []TokenUsage{usage}
}
