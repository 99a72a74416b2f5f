package fakellm

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
)

// chain says what a request of the Responses API continues, and what becomes of its answer.
type chain struct {
	after        string // The id of the response that it continues. Empty: none.
	conversation string // The id of the conversation that it belongs to. Empty: none.
	store        bool
	encrypted    bool // The answer has reasoning in a form that the client can send again.
	size         int  // Of the request, in bytes.
}

// item is what the Responses API checks of an item of the input.
type item struct {
	kind, id, encrypted string
}

func itemOf(i responsesItem) item { return item{kind: i.Type, id: i.ID, encrypted: i.Encrypted} }

// encrypted returns a thought in the form that clients send back. It is different for each thought, and shows what was changed.
func encrypted(thought string) string {
	sum := sha256.Sum256([]byte("fakellm:" + thought))
	return base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(sum[:]) + thought))
}

// isEncrypted reports whether a text is one that encrypted returned.
func isEncrypted(text string) bool {
	decoded, err := base64.StdEncoding.DecodeString(text)
	return err == nil && len(decoded) >= 2*sha256.Size && encrypted(string(decoded[2*sha256.Size:])) == text
}

// responsesInsist puts what the server has stored before the input, and refuses what the API refuses of both together.
func responsesInsist(a *ask, m *memory) error {
	input := a.messages
	before, err := a.chain.history(m)
	if err != nil {
		return err
	}
	a.messages = slices.Concat(before, input)
	calls, answered, known := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, said := range before {
		for _, id := range said.calls {
			calls[id] = true
		}
		for _, id := range said.answers {
			answered[id] = true
		}
		known[said.item.id] = said.item.id != ""
	}
	stored := maps.Clone(answered)
	for i, said := range input {
		if id := said.item.id; id != "" {
			if known[id] {
				return badParam("input", "Duplicate item found with id %s. Remove duplicate items from your input and try again.", id)
			}
			known[id] = true
		}
		if err := said.item.check(input[i+1:], known, m); err != nil {
			return err
		}
		for _, id := range said.answers {
			if stored[id] {
				return badParam("input", "Duplicate item found with id %s. Remove duplicate items from your input and try again.", id)
			}
			if !calls[id] {
				return badParam("input", "No tool call found for function call output with call_id %s.", id)
			}
			answered[id] = true
		}
		for _, id := range said.calls {
			calls[id] = true
		}
	}
	for _, said := range a.messages {
		for _, id := range said.calls {
			if !answered[id] {
				return badParam("input", "No tool output found for function call %s.", id)
			}
		}
	}
	return nil
}

// history returns what the server has stored of a conversation.
func (c chain) history(m *memory) ([]utterance, error) {
	if c.after == "" {
		found, _ := m.find(c.conversation) // A new conversation is empty.
		return found.messages, nil
	}
	found, ok := m.find(c.after)
	if !ok {
		return nil, &refusal{
			status: http.StatusBadRequest, code: "previous_response_not_found", param: "previous_response_id",
			message: "Previous response with id '" + c.after + "' not found.",
		}
	}
	return found.messages, nil
}

// check refuses reasoning that does not come back as it was, and items without the reasoning that came before them. Known
// are the ids of the items before it.
func (i item) check(after []utterance, known map[string]bool, m *memory) error {
	if i.kind == "reasoning" {
		return i.checkReasoning(after, m)
	}
	for _, id := range m.cameBefore(i.id) {
		if !known[id] {
			return badParam("input", "Item '%s' of type '%s' was provided without its required 'reasoning' item: '%s'.", i.id, i.kind, id)
		}
	}
	return nil
}

func (i item) checkReasoning(after []utterance, m *memory) error {
	switch {
	case i.encrypted != "" && !isEncrypted(i.encrypted):
		return &refusal{
			status: http.StatusBadRequest, code: "invalid_encrypted_content",
			message: "The encrypted content for item " + i.id + " could not be verified.",
		}
	case i.encrypted == "" && i.id != "" && m.cameBefore(i.id) == nil:
		return &refusal{status: http.StatusNotFound, message: "Item with id '" + i.id + "' not found. Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input."}
	case i.id != "" && (len(after) == 0 || after[0].from != fromModel):
		return badParam("input", "Item '%s' of type 'reasoning' was provided without its required following item.", i.id)
	}
	return nil
}

// responsesRemember stores an answer, unless the request asks for no storing. It notes which reasoning came before each item.
func responsesRemember(a ask, made reply, m *memory) {
	answer, size := []utterance{}, a.chain.size
	var reasoning []string
	for _, o := range responsesOutput(a, made) {
		id, _ := o["id"].(string)
		kind, _ := o["type"].(string)
		said := utterance{from: fromModel, item: item{kind: kind, id: id}}
		if call, ok := o["call_id"].(string); ok {
			said.calls = []string{call}
		}
		answer = append(answer, said)
		if kind == "reasoning" {
			reasoning = append(slices.Clip(reasoning), id)
			if a.chain.store {
				m.note(id, []string{}) // Known, and after nothing.
			}
			continue
		}
		if len(reasoning) > 0 {
			m.note(id, reasoning)
		}
	}
	if !a.chain.store {
		return
	}
	if before, ok := m.find(a.chain.after + a.chain.conversation); ok {
		size += before.size
	}
	whole := storedResponse{messages: slices.Concat(a.messages, answer), size: size}
	m.store(made.id, whole)
	if a.chain.conversation != "" {
		m.store(a.chain.conversation, whole)
	}
}
