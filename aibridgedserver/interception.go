package aibridgedserver

import (
	"encoding/json"
	"time"
)

// Interception is an interception with all that is recorded of it so far. Its slices are never nil.
type Interception struct {
	ID                    string          `json:"id"`           // UUID.
	Initiator             string          `json:"initiator"`    // Username, or empty if the initiator is no user.
	InitiatorID           string          `json:"initiator_id"` // UUID.
	APIKeyID              string          `json:"api_key_id"`
	Provider              string          `json:"provider"` // The provider's type.
	ProviderName          string          `json:"provider_name"`
	Model                 string          `json:"model"`
	Client                string          `json:"client"`
	ClientSessionID       *string         `json:"client_session_id"`
	UserAgent             string          `json:"user_agent"`
	CorrelatingToolCallID *string         `json:"correlating_tool_call_id"`
	CredentialKind        string          `json:"credential_kind"`
	CredentialHint        string          `json:"credential_hint"` // Of the key that was used: the end's hint, if it has one, else the start's.
	Metadata              json.RawMessage `json:"metadata"`
	RequestBytes          *int64          `json:"request_bytes"`  // Size of the body as the client sent it. Nil: not known.
	RequestSHA256         *string         `json:"request_sha256"` // Of the same, in hexadecimal.
	StartedAt             time.Time       `json:"started_at"`
	EndedAt               *time.Time      `json:"ended_at"` // Nil: it has not ended.
	ErrorType             *string         `json:"error_type"`
	ErrorMessage          *string         `json:"error_message"`
	ResponseBytes         *int64          `json:"response_bytes"`  // Size of the upstream's answer. Nil: not known, or no answer.
	ResponseSHA256        *string         `json:"response_sha256"` // Of the same, in hexadecimal.
	FirstByteMicros       *int64          `json:"first_byte_us"`   // From the start to the first byte of an answer, in microseconds. Nil: none came, or not known.
	Unread                *int64          `json:"unread"`          // How many events of the answers were not understood. Nil: not known.

	Prompts       []Prompt       `json:"prompts"`
	TokenUsages   []TokenUsage   `json:"token_usages"`
	ToolUsages    []ToolUsage    `json:"tool_usages"`
	ModelThoughts []ModelThought `json:"model_thoughts"`
}

// Prompt is what a person typed.
type Prompt struct {
	RecordID  string          `json:"record_id"` // UUID.
	MsgID     string          `json:"msg_id"`
	Prompt    string          `json:"prompt"`
	Metadata  json.RawMessage `json:"metadata"`
	CreatedAt time.Time       `json:"created_at"`
}

// TokenUsage counts the tokens of one upstream answer.
type TokenUsage struct {
	RecordID              string          `json:"record_id"` // UUID.
	MsgID                 string          `json:"msg_id"`
	InputTokens           int64           `json:"input_tokens"`
	OutputTokens          int64           `json:"output_tokens"`
	CacheReadInputTokens  int64           `json:"cache_read_input_tokens"`
	CacheWriteInputTokens int64           `json:"cache_write_input_tokens"`
	Metadata              json.RawMessage `json:"metadata"`
	CreatedAt             time.Time       `json:"created_at"`
}

// ToolUsage is one tool call that the model made.
type ToolUsage struct {
	RecordID        string          `json:"record_id"` // UUID.
	MsgID           string          `json:"msg_id"`
	ToolCallID      string          `json:"tool_call_id"`
	ItemID          string          `json:"item_id"`
	ServerURL       *string         `json:"server_url"`
	Tool            string          `json:"tool"`
	Input           string          `json:"input"` // JSON, as the model wrote it.
	Injected        bool            `json:"injected"`
	InvocationError *string         `json:"invocation_error"`
	Metadata        json.RawMessage `json:"metadata"`
	CreatedAt       time.Time       `json:"created_at"`
}

// ModelThought is one piece of reasoning that the model showed.
type ModelThought struct {
	RecordID  string          `json:"record_id"` // UUID.
	Content   string          `json:"content"`
	Metadata  json.RawMessage `json:"metadata"`
	CreatedAt time.Time       `json:"created_at"`
}
