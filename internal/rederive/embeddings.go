package rederive

import "encoding/json"

// embeddingsRequest reads a request of the Embeddings API: nothing in it is a person's.
func embeddingsRequest(object) request { return request{} }

// embeddingsStream reads a stream, of which the API has none.
func embeddingsStream([]event) reading { return reading{foreign: true} }

// embeddingsBody reads an answer of the Embeddings API.
func embeddingsBody(body object) reading {
	a := reading{figureNames: figureNames{
		input: []string{"prompt_tokens", "input_tokens"}, output: []string{"completion_tokens"}, total: []string{"total_tokens"},
		read: []string{"prompt_tokens_details.cached_tokens"}, totalIsInput: true,
		extras: map[string][]string{"total_tokens": {"total_tokens"}},
	}}
	var list []json.RawMessage
	if json.Unmarshal(body["data"], &list) != nil || list == nil {
		a.failure = readFailure(body, body.text("type"))
		a.foreign = true
		return a
	}
	a.id, a.model = body.text("id"), body.text("model")
	a.usage.add(body["usage"])
	return a
}

// embeddingsEvent knows no event: the API has no streams.
func embeddingsEvent(e event) (kind string, known bool) {
	_, kind = e.object()
	return kind, false
}
