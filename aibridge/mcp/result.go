package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/coder/aibridged/internal/storable"
)

// maxText is how many bytes of a tool's result are kept.
const maxText = 1 << 20

// content is one block of a result.
type content struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	MIMEType string `json:"mimeType"`
	URI      string `json:"uri"`
	Resource struct {
		URI      string `json:"uri"`
		MIMEType string `json:"mimeType"`
		Text     string `json:"text"`
	} `json:"resource"`
}

// text returns the text of a block, or a note in place of a block without text.
func (c *content) text() string {
	switch {
	case c.Type == "text":
		return c.Text
	case c.Type == "resource" && c.Resource.Text != "":
		return c.Resource.Text
	case c.Type == "resource":
		return fmt.Sprintf("[resource %s of type %q left out]", c.Resource.URI, c.Resource.MIMEType)
	case c.Type == "resource_link":
		return "[resource " + c.URI + "]"
	}
	return fmt.Sprintf("[%s of type %q left out]", c.Type, c.MIMEType)
}

// readResult reads the result of a tools/call.
func readResult(raw json.RawMessage, secrets secrets) (Result, error) {
	var answer struct {
		Content    []content       `json:"content"`
		Structured json.RawMessage `json:"structuredContent"`
		IsError    bool            `json:"isError"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return Result{}, fmt.Errorf("the tool's result: %w", err)
	}
	texts := make([]string, 0, len(answer.Content)+1)
	for i := range answer.Content {
		texts = append(texts, answer.Content[i].text())
	}
	if structured := answer.Structured; len(structured) > 0 && !bytes.Equal(structured, []byte("null")) {
		if !contains(texts, structured) {
			texts = append(texts, string(structured))
		}
	}
	text := secrets.clean(strings.Join(texts, "\n"))
	if kept := storable.Cut(text, maxText); len(kept) < len(text) {
		text = fmt.Sprintf("%s\n[cut: the first %d of %d bytes]", kept, len(kept), len(text))
	}
	return Result{Text: text, IsError: answer.IsError}, nil
}

// contains reports whether one of texts is the same JSON as structured: servers send structured content as text too,
// for clients that do not read structured content.
func contains(texts []string, structured json.RawMessage) bool {
	var want, have bytes.Buffer
	if json.Compact(&want, structured) != nil {
		return false
	}
	for _, text := range texts {
		have.Reset()
		if json.Compact(&have, []byte(text)) == nil && bytes.Equal(want.Bytes(), have.Bytes()) {
			return true
		}
	}
	return false
}
