package rederive

import "encoding/json"

// embeddingsRequest reads a request of the Embeddings API: nothing in it is a person's.
func embeddingsRequest(object) request { return request{} }

// embeddingsStream reads a stream, of which the API has none.
func embeddingsStream([]event) reading { return reading{foreign: true} }

// embeddingsBody reads an answer of the Embeddings API.
func embeddingsBody(body object) reading {
	a := reading{figureNames: figureNames{
		input: "prompt_tokens", output: "completion_tokens", inputHasCached: true, read: "prompt_tokens_details.cached_tokens",
		extras: map[string]string{"total_tokens": "total_tokens"},
		parts:  [][]string{{"prompt_tokens", "prompt_tokens_details.cached_tokens"}},
	}}
	var list []json.RawMessage
	if json.Unmarshal(body["data"], &list) != nil || list == nil {
		a.failure = readFailure(body, body.text("type"))
		a.foreign = true
		return a
	}
	a.id, a.model = body.text("id"), body.text("model")
	a.figures.add(body.object("usage"))
	if total, ok := a.figures["total_tokens"]; ok {
		if _, told := a.figures["prompt_tokens"]; !told {
			a.figures["prompt_tokens"] = total
		}
	}
	return a
}
