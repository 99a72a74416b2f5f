package rederive

import "cmp"

// reading is what an upstream said, in the terms that the formats share.
type reading struct {
	id    string
	model string
	tier  string // The service tier.

	figures     figures
	figureNames figureNames
	preliminary bool // More of it was to come.
	calls       []*call
	thoughts    []*thought
	failure     *failure // Nil: it told of none.

	streamed   bool
	terminated bool // The event came that ends a stream.
	finished   bool // What came is an end, if nothing comes after it.
	broken     bool // The rest of it is missing.
	foreign    bool // It is no answer of this API.
	unreadable bool // Its content coding cannot be undone.
}

// ended reports whether the answer has ended as it should: what comes after that is none of it.
func (a reading) ended() bool { return a.terminated && a.failure == nil }

// call is a call that a model made, as far as it came.
type call struct {
	id, item, tool, input string
	withoutInput          string // Its input if there is none.
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

// fail notes that the upstream told of a failure. The first one is the cause of those after it.
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
