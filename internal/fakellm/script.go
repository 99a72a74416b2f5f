package fakellm

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// turn holds what the directives say about one answer.
type turn struct {
	thoughts []string
	text     *string // Nil: the default one.
	after    string  // The text after the calls.
	calls    []ToolCall
	usage    map[string]int64

	refusal *refusal
	failure *failure
	delay   time.Duration
	silence *silence
	cut     *point
	noDone  bool
	cutOff  bool
}

// breaksOff reports whether the answer ends without the event that ends one, or in the middle of a body.
func (t turn) breaksOff(stream bool) bool {
	return t.cut != nil || stream && (t.failure != nil || t.noDone)
}

// failure is an error event that replaces the rest of a stream.
type failure struct {
	kind, message string
	point         point
}

// silence is a pause within a stream.
type silence struct {
	length time.Duration
	point  point
}

// point is a place in a stream: after that many events, or half-way if it is negative.
type point int

// in returns how many of n events come before the point.
func (p point) in(n int) int {
	if p < 0 {
		return n / 2
	}
	return min(int(p), n)
}

// turns splits directives at each [[then]].
func turns(all []directive) [][]directive {
	var split [][]directive
	for {
		end := slices.IndexFunc(all, func(d directive) bool { return d.name == "then" })
		if end < 0 {
			return append(split, all)
		}
		split, all = append(split, all[:end]), all[end+1:]
	}
}

// script returns the turn for this answer, by the directives in the prompt and in headers, and the prompt without them.
// Headers are read after the prompt, so that their directives override the prompt's.
func (a ask) script(headers []string) (t turn, plain string, err error) {
	conversation := a.conversation()
	sources := [][]string{conversation.typed, headers}
	for i, texts := range sources {
		var all []directive
		for _, text := range texts {
			found, rest, err := directives(text)
			if err != nil {
				return turn{}, "", err
			}
			all = append(all, found...)
			if i == 0 {
				plain = rest // Clients put the person's own text last.
			}
		}
		if split := turns(all); conversation.round < len(split) {
			for _, d := range split[conversation.round] {
				if err := t.apply(d); err != nil {
					return turn{}, "", err
				}
			}
		}
	}
	return t, plain, nil
}

// apply adds one directive to a turn. Thoughts and tool calls add up. Of the others, and of each figure of usage, the last
// one counts.
func (t *turn) apply(d directive) error {
	switch d.name {
	case "text":
		t.text = &d.argument
	case "text-after":
		t.after = d.argument
	case "think":
		t.thoughts = append(t.thoughts, d.argument)
	case "tool":
		t.calls = append(t.calls, ToolCall{Name: d.argument, Input: d.input})
	case "usage":
		return t.applyUsage(d)
	case "error":
		return t.applyError(d)
	case "error-event":
		return t.applyFailure(d)
	case "delay":
		return readDuration(d, d.argument, &t.delay)
	case "silence":
		return t.applySilence(d)
	case "cut":
		words, options := split(d.argument, "after")
		t.cut = new(point)
		if len(words) > 0 {
			return misread(d)
		}
		return readPoint(d, options, t.cut)
	case "no-done":
		t.noDone = true
	case "max-tokens":
		t.cutOff = true
	}
	return nil
}

func (t *turn) applyUsage(d directive) error {
	words, options := split(d.argument, "input", "output", "cache_read", "cache_write", "thinking")
	if len(words) > 0 {
		return misread(d)
	}
	if t.usage == nil {
		t.usage = map[string]int64{}
	}
	for name, text := range options {
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil || value < 0 {
			return misread(d)
		}
		t.usage[name] = value
	}
	return nil
}

func (t *turn) applyError(d directive) error {
	words, options := split(d.argument, "retry-after", "type")
	if len(words) == 0 {
		return misread(d)
	}
	status, err := strconv.Atoi(words[0])
	if err != nil || status < 400 || status > 599 {
		return misread(d)
	}
	t.refusal = &refusal{
		status: status, kind: options["type"], message: message(words[1:]), retryAfter: options["retry-after"],
	}
	return nil
}

func (t *turn) applyFailure(d directive) error {
	words, options := split(d.argument, "after")
	if len(words) == 0 {
		return misread(d)
	}
	t.failure = &failure{kind: words[0], message: message(words[1:])}
	return readPoint(d, options, &t.failure.point)
}

func (t *turn) applySilence(d directive) error {
	words, options := split(d.argument, "after")
	if len(words) != 1 {
		return misread(d)
	}
	t.silence = &silence{}
	if err := readPoint(d, options, &t.silence.point); err != nil {
		return err
	}
	return readDuration(d, words[0], &t.silence.length)
}

// message returns the words of a directive as the text of an error, or a default text.
func message(words []string) string {
	if len(words) == 0 {
		return "scripted error"
	}
	return strings.Join(words, " ")
}

// split divides an argument into its words and its options of the form name=value.
func split(argument string, names ...string) (words []string, options map[string]string) {
	options = map[string]string{}
	for _, word := range strings.Fields(argument) {
		name, value, found := strings.Cut(word, "=")
		if found && slices.Contains(names, name) {
			options[name] = value
		} else {
			words = append(words, word)
		}
	}
	return words, options
}

func readPoint(d directive, options map[string]string, p *point) error {
	*p = -1
	text, found := options["after"]
	if !found {
		return nil
	}
	after, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return misread(d)
	}
	*p = point(after)
	return nil
}

func readDuration(d directive, text string, to *time.Duration) error {
	length, err := time.ParseDuration(text)
	if err != nil || length < 0 {
		return misread(d)
	}
	*to = length
	return nil
}

func misread(d directive) error {
	return badRequest("[[%s: %s]] is not understood: see fakellm --help", d.name, d.argument)
}
