package responses

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/wire"
)

// writeResult returns a result as an input item. Its output is a string, or a list of parts if there is an image. The format
// has no mark of an error, so the text begins with that.
func writeResult(callID string, result wire.Result) []byte {
	item := appendText([]byte(`{"type":"function_call_output","call_id":`), callID)
	item = append(item, `,"output":`...)
	parts := result.Parts
	if result.IsError {
		parts = withError(parts)
	}
	var texts []string
	list := []byte{'['}
	for _, part := range parts {
		if part.MediaType == "" {
			texts = append(texts, part.Text)
			list = append(appendText(append(list, `{"type":"input_text","text":`...), part.Text), "},"...)
			continue
		}
		url := "data:" + part.MediaType + ";base64," + base64.StdEncoding.EncodeToString(part.Data)
		list = append(appendText(append(list, `{"type":"input_image","image_url":`...), url), "},"...)
	}
	if len(texts) == len(parts) {
		item = appendText(item, strings.Join(texts, "\n"))
	} else {
		list[len(list)-1] = ']'
		item = append(item, list...)
	}
	return append(item, '}')
}

// withError returns the parts of a result with a text that says that it is an error.
func withError(parts []wire.Part) []wire.Part {
	at := slices.IndexFunc(parts, func(part wire.Part) bool { return part.MediaType == "" })
	switch {
	case at < 0:
		return slices.Insert(slices.Clone(parts), 0, wire.Part{Text: "Error: "})
	case strings.HasPrefix(strings.ToLower(parts[at].Text), "error"):
		return parts
	}
	parts = slices.Clone(parts)
	parts[at].Text = "Error: " + parts[at].Text
	return parts
}

// appendText appends a JSON string. It escapes no more than it must: what is escaped costs tokens.
func appendText(to []byte, text string) []byte {
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // A string can always be encoded.
	return append(to, bytes.TrimSuffix(written.Bytes(), []byte{'\n'})...)
}
