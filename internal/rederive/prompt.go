package rederive

import "strings"

// prompt returns the text that a person typed, or nil.
func (c client) prompt(asked request) *Prompt {
	var typed []string
	for i, part := range asked.typed.parts {
		if asked.typed.single {
			part = c.unwrap(part)
		}
		if i == 0 {
			part = c.withoutLeadingLine(part)
		}
		if strings.TrimSpace(part) == "" || c.isWrapper(part) || asked.besideResults && c.isItsOwn(part) {
			continue
		}
		typed = append(typed, part)
	}
	if len(typed) == 0 {
		return nil
	}
	text := strings.Join(typed, "\n")
	metadata := sanitized(map[string]any{}, text)
	if asked.besideResults {
		metadata["beside_tool_results"] = true
	}
	if asked.generated {
		metadata["client_generated"] = true
	}
	for _, beginning := range c.Own {
		if strings.HasPrefix(asked.opening, beginning) || strings.HasPrefix(text, beginning) {
			metadata["client_generated"] = true
		}
	}
	return &Prompt{Text: storable(text), Metadata: metadata}
}

// isWrapper reports whether a whole part is one block of the client's.
func (c client) isWrapper(part string) bool {
	for _, tag := range c.Wrappers {
		inner, opened := strings.CutPrefix(strings.TrimSpace(part), "<"+tag+">")
		before, closed := strings.CutSuffix(inner, "</"+tag+">")
		if opened && closed && !strings.Contains(before, "</"+tag+">") {
			return true
		}
	}
	return false
}

// unwrap removes the client's blocks from both ends of a text. All text between them is the person's.
func (c client) unwrap(text string) string {
	for _, tag := range c.Wrappers {
		opening, closing := "<"+tag+">", "</"+tag+">"
		if _, rest, ok := strings.Cut(text, closing); ok && strings.HasPrefix(strings.TrimSpace(text), opening) {
			return c.unwrap(strings.TrimLeft(rest, "\r\n"))
		}
		if at := strings.LastIndex(text, opening); at >= 0 && strings.HasSuffix(strings.TrimSpace(text), closing) {
			return c.unwrap(strings.TrimRight(text[:at], "\r\n"))
		}
	}
	return text
}

func (c client) withoutLeadingLine(text string) string {
	if c.Leading == "" {
		return text
	}
	first, rest, _ := strings.Cut(text, "\n")
	first = strings.TrimSpace(first)
	if strings.HasPrefix(first, "<"+c.Leading+">") && strings.HasSuffix(first, "</"+c.Leading+">") {
		return strings.TrimLeft(rest, "\r\n")
	}
	return text
}

// isItsOwn reports whether a text beside tool results is the client's own.
func (c client) isItsOwn(part string) bool {
	part = strings.TrimSpace(part)
	for _, beginning := range c.FixedBeginnings {
		if strings.HasPrefix(part, beginning) {
			return true
		}
	}
	for _, text := range c.FixedTexts {
		if part == text {
			return true
		}
	}
	return false
}
