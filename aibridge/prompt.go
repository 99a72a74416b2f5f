package aibridge

import (
	"encoding/json"
	"strings"

	"github.com/coder/aibridged/internal/storable"
)

// prompt returns the record of what a person typed, or nil where nobody typed anything. It is kept whole.
func (x *exchange) prompt(client *client) *PromptUsage {
	typed := client.typed(x.request)
	if len(typed) == 0 {
		return nil
	}
	text := strings.Join(typed, "\n")
	metadata := Metadata{}
	if x.request.BesideToolResults {
		metadata["beside_tool_results"] = true
	}
	if client.generates(x.request, text) {
		metadata["client_generated"] = true
	}
	prompt := storable.Text(text)
	return &PromptUsage{
		RecordID:       newRecordID(),
		InterceptionID: x.id,
		Prompt:         prompt,
		Metadata:       flagged(metadata, prompt != text),
		CreatedAt:      x.started,
	}
}

// toolInput returns the model's arguments as the JSON that a record holds: the model's own bytes, or where these are no
// JSON, a JSON string of them. It also reports whether they had to be changed.
func toolInput(raw string) (string, bool) {
	input := storable.Text(raw)
	if json.Valid([]byte(input)) {
		return input, input != raw
	}
	quoted, err := json.Marshal(input)
	if err != nil {
		return `""`, true // A valid string always marshals.
	}
	return string(quoted), input != raw
}
