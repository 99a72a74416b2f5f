package fakellm

import (
	"slices"
	"strconv"
	"strings"
)

// messagesInsist refuses calls without results, results without calls, and thoughts that are not as they were. Messages that
// follow each other from the same side count as one, as in the real API.
func messagesInsist(a *ask, m *memory) error {
	turns := mergedTurns(a.messages)
	seen := map[string]bool{}
	for i, t := range turns {
		for _, id := range t.calls {
			if seen[id] {
				return badRequest("messages: `tool_use` ids must be unique")
			}
			seen[id] = true
		}
		for _, thought := range t.thoughts {
			if thought.signature != signature(thought.text) {
				return badRequest("messages.%d.content: Invalid `signature` in `thinking` block", i)
			}
		}
		var calls, next utterance
		if i > 0 && turns[i-1].from == fromModel {
			calls = turns[i-1]
		}
		if i+1 < len(turns) {
			next = turns[i+1]
		}
		if err := checkAnswers(i, calls, t); err != nil {
			return err
		}
		if missing := without(t.calls, next.answers); len(missing) > 0 || len(t.calls) > 0 && next.late {
			if len(missing) == 0 {
				missing = t.calls
			}
			return badRequest("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", i, strings.Join(missing, ", "))
		}
	}
	if a.thinking {
		return checkThoughts(turns, m)
	}
	return nil
}

// mergedTurns returns what each side said before the other one did, without what the system said.
func mergedTurns(messages []utterance) []utterance {
	var turns []utterance
	for _, m := range messages {
		switch {
		case m.from == fromSystem:
		case len(turns) > 0 && turns[len(turns)-1].from == m.from:
			last := &turns[len(turns)-1]
			last.late = last.late || m.late || len(m.results) > 0 && len(last.texts) > 0
			last.texts, last.answers = append(slices.Clip(last.texts), m.texts...), append(slices.Clip(last.answers), m.answers...)
			last.results, last.calls = append(slices.Clip(last.results), m.results...), append(slices.Clip(last.calls), m.calls...)
			last.thoughts, last.order = append(slices.Clip(last.thoughts), m.thoughts...), append(slices.Clip(last.order), m.order...)
		default:
			turns = append(turns, m)
		}
	}
	return turns
}

// checkAnswers refuses the results of a turn that answer no call of the turn before.
func checkAnswers(place int, calls, t utterance) error {
	for i, id := range t.answers {
		if !slices.Contains(calls.calls, id) {
			return badRequest("messages.%d.content.%d: unexpected `tool_use_id` found in `tool_result` blocks: %s. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.", place, i, id)
		}
		if slices.Contains(t.answers[:i], id) {
			return badRequest("messages.%d.content.%d: each tool_use must have a single result. Found multiple `tool_result` blocks with id: %s", place, i, id)
		}
	}
	return nil
}

// checkThoughts refuses the latest turn of the model if thoughts are missing that came before a call in it.
func checkThoughts(turns []utterance, m *memory) error {
	for i, t := range slices.Backward(turns) {
		if t.from != fromModel {
			continue
		}
		for _, call := range t.calls {
			before := t.order[:slices.Index(t.order, call)]
			for _, signature := range m.cameBefore(call) {
				at := slices.Index(before, signature)
				if at < 0 {
					return badRequest("messages.%d.content: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. These blocks must remain as they were in the original response.", i)
				}
				before = before[at+1:]
			}
		}
		return nil
	}
	return nil
}

// messagesRemember notes which thoughts came before each call.
func messagesRemember(_ ask, made reply, m *memory) {
	if len(made.thoughts) == 0 {
		return
	}
	var signatures []string
	for _, thought := range made.thoughts {
		signatures = append(signatures, signature(thought))
	}
	for _, call := range made.calls {
		m.note(call.ID, signatures)
	}
}

// chatInsist refuses calls that are not answered before anything else is said, and answers to no call.
func chatInsist(a *ask, _ *memory) error {
	var open []string
	for i, said := range a.messages {
		if said.from == fromTools {
			if !slices.Contains(open, said.answers[0]) {
				return badParam("messages.["+strconv.Itoa(i)+"].role", "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.")
			}
			open = without(open, said.answers)
			continue
		}
		if len(open) > 0 {
			return unansweredChat(i, open)
		}
		open = said.calls
	}
	if len(open) > 0 {
		return unansweredChat(len(a.messages), open)
	}
	return nil
}

func unansweredChat(place int, open []string) error {
	return badParam("messages.["+strconv.Itoa(place)+"].role", "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: %s", strings.Join(open, ", "))
}

// without returns what is in all and not in some.
func without(all, some []string) []string {
	var left []string
	for _, one := range all {
		if !slices.Contains(some, one) {
			left = append(left, one)
		}
	}
	return left
}
