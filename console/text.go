package console

import (
	"encoding/json"

	"github.com/coder/aibridged/internal/storable"
)

const (
	// longestText is how much a page shows of a text, and mostTexts of all texts together, in bytes: a prompt may have tens of
	// millions, and few pages are made at a time. The file of the view has all of them.
	longestText = 64 << 10
	mostTexts   = 1 << 20
	// mostParts is how many calls, thoughts or prompts a page shows of one interception.
	mostParts = 200
)

// shownText is a text as a page shows it.
type shownText struct {
	Text string
	Cut  int    // How many bytes it has, if it is cut. Zero: it is whole.
	All  string // The address of all of it.
}

// Text returns a text, or JSON, as the page shows it.
func (p *page) Text(of any) shownText {
	var whole string
	switch of := of.(type) {
	case json.RawMessage:
		whole = string(of)
	case string:
		whole = of
	}
	kept := storable.Cut(whole, min(longestText, p.texts))
	p.texts -= len(kept)
	part := shownText{Text: kept}
	if len(kept) < len(whole) {
		part.Cut, part.All = len(whole), p.Save("json")
		return part
	}
	part.Text = pretty(of)
	return part
}

// Told returns the metadata of a record, or nil if there is none.
func (p *page) Told(metadata json.RawMessage) *shownText {
	if len(metadata) == 0 || pretty(metadata) == "{}" {
		return nil
	}
	text := p.Text(metadata)
	return &text
}

// firstOf returns the first mostParts of a list, and how many more it has.
func firstOf[T any](list []T) (first []T, more int) {
	first = list[:min(len(list), mostParts)]
	return first, len(list) - len(first)
}
