package responses

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/coder/aibridged/internal/wire"
)

// writeResult returns a result as an input item. Its output is a string, or a list of parts if there is an image.
func writeResult(callID string, result wire.Result) []byte {
	item := appendText([]byte(`{"type":"function_call_output","call_id":`), callID)
	item = append(item, `,"output":`...)
	parts := result.Parts
	if result.IsError {
		parts = append([]wire.Part{{Text: "The tool reported an error."}}, parts...)
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

// appendText appends a JSON string. It escapes no more than it must: what is escaped costs tokens.
func appendText(to []byte, text string) []byte {
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // A string can always be encoded.
	return append(to, bytes.TrimSuffix(written.Bytes(), []byte{'\n'})...)
}
