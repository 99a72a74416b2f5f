package fakellm

import (
	"net/http"
	"slices"
)

// Served describes how the server answered one request to a route of a format. It never holds a credential.
type Served struct {
	Format    string // "messages", "chat" or "responses".
	Streamed  bool
	Model     string
	RequestID string // As in the header request-id or x-request-id.
	Status    int    // The HTTP status. If it is not 200, the fields below Prompt are zero.

	// Prompt is the last text of the last message that the user typed, directives included.
	Prompt string

	AnswerID  string
	Thoughts  []string
	Text      string
	ToolCalls []ToolCall
	Usage     Usage
	// Failure is the type of the error event that ended the stream, or empty.
	Failure string
	// Complete says that all of the answer was written, its terminal event included.
	Complete bool
}

// ToolCall is one call that an answer made.
type ToolCall struct {
	ID        string // The id to which the tool result will refer.
	ItemID    string // Of the output item; only Responses has it.
	Name      string
	Namespace string // Only Responses has it, and only for tools that were declared within one.
	Input     string

	custom bool
}

// Usage is the number of tokens that an answer claims to have used. Each format adds them up in its own way.
type Usage struct {
	Input      int64 // Without cached tokens.
	Output     int64 // With Thinking.
	CacheRead  int64
	CacheWrite int64
	Thinking   int64
}

// describe returns what is planned. If decide has failed, the rest is zero.
func (p plan) describe(requestID string) Served {
	s := Served{
		Format: p.format.name, Streamed: p.ask.stream, Model: p.ask.model, RequestID: requestID, Status: http.StatusOK,
		Prompt: p.ask.conversation().prompt(), AnswerID: p.answer.id, Thoughts: p.answer.thoughts, Text: p.answer.text + p.answer.after,
		ToolCalls: p.answer.calls, Usage: p.answer.usage,
	}
	if p.turn.failure != nil && p.ask.stream {
		s.Failure = p.turn.failure.kind
	}
	return s
}

// note keeps what was served and calls Options.Log with it.
func (s *Server) note(served Served) {
	s.mu.Lock()
	if len(s.served) == maxServed {
		s.served = slices.Delete(s.served, 0, 1)
	}
	s.served = append(s.served, served)
	s.mu.Unlock()
	if s.options.Log != nil {
		s.options.Log(served)
	}
}

// Served returns the last thousand requests, in the order in which their answers ended. An answer may appear here a
// moment after its client has read it.
func (s *Server) Served() []Served {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.served)
}
