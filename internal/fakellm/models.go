package fakellm

import (
	"errors"
	"net/http"
)

// modelIDs returns the models that are listed. Requests may name any other model too.
func modelIDs() []string { return []string{"fake-large", "fake-small"} }

// listModels answers GET /v1/models in Anthropic's form if the request has Anthropic's version header, else in
// OpenAI's.
func (s *Server) listModels(w http.ResponseWriter, r *http.Request) {
	anthropic := r.Header.Get("Anthropic-Version") != ""
	data := []object{}
	ids := modelIDs()
	for _, id := range ids {
		data = append(data, modelObject(id, anthropic))
	}
	list := object{"object": "list", "data": data}
	if anthropic {
		list = object{"data": data, "has_more": false, "first_id": ids[0], "last_id": ids[len(ids)-1]}
	}
	writeJSON(w, http.StatusOK, encode(list))
}

func (s *Server) getModel(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, encode(modelObject(r.PathValue("id"), r.Header.Get("Anthropic-Version") != "")))
}

func modelObject(id string, anthropic bool) object {
	if anthropic {
		return object{"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z"}
	}
	return object{"object": "model", "id": id, "created": 1767225600, "owned_by": "fakellm"}
}

// countTokens answers with the input tokens that a message with the same body would have as its usage.
func (s *Server) countTokens(w http.ResponseWriter, r *http.Request) {
	requestID := s.ids()("req_", 0)
	w.Header().Set("Request-Id", requestID)
	ask, err := read(messages(), w, r)
	if refused, ok := errors.AsType[*refusal](err); ok {
		refused.write(w, messages(), requestID)
		return
	}
	writeJSON(w, http.StatusOK, encode(object{"input_tokens": ask.words()}))
}
