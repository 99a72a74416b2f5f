package aibridge

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// ErrNoRoom is the error of a [Recorder] that has no room for another interception at the moment. The client is told to
// try again later; after any other error it is not.
var ErrNoRoom = errors.New("no room for records")

// Recorder takes the records of interceptions.
type Recorder interface {
	// Record takes records in their order: all of them or, if it fails, none that counts. The commit says when they are
	// safe, which is when they cannot be lost any more; a nil commit says that they are safe already. One goroutine
	// records one interception, the start in the first call and the end in the last; different interceptions are
	// recorded concurrently. What a background response did may be recorded later, by any goroutine and more than once,
	// with the same record ids. Each call has at least one record.
	Record(ctx context.Context, records ...Record) (Commit, error)
}

// Commit says when records are safe.
type Commit interface {
	// Wait returns once they are safe. It fails if they may be lost, or with the context's error.
	Wait(ctx context.Context) error
}

// Record is one of [InterceptionStart], [PromptUsage], [TokenUsage], [ToolUsage], [ModelThought] and [InterceptionEnd].
type Record interface{ isRecord() }

func (*InterceptionStart) isRecord() {}
func (*PromptUsage) isRecord()       {}
func (*TokenUsage) isRecord()        {}
func (*ToolUsage) isRecord()         {}
func (*ModelThought) isRecord()      {}
func (*InterceptionEnd) isRecord()   {}

// Metadata holds what has no field of its own. Its values are strings, booleans, int64, float64, nil, and slices and
// maps of these.
type Metadata map[string]any

// CredentialKind says whose credential went upstream.
type CredentialKind string

const (
	// CredentialCentralized is a key that the gateway holds.
	CredentialCentralized CredentialKind = "centralized"
	// CredentialBYOK is a credential that the caller brought.
	CredentialBYOK CredentialKind = "byok"
)

// InterceptionStart is recorded before the upstream is called. A request whose start cannot be recorded is not sent.
type InterceptionStart struct {
	ID           uuid.UUID // Version 7. It serves as the record's id too.
	InitiatorID  string
	APIKeyID     string
	Provider     string // The provider's type.
	ProviderName string
	Model        string
	Metadata     Metadata // The actor's, and what the client says of the sub-agent that asks.
	StartedAt    time.Time

	Client                string
	ClientSessionID       string // Empty: the client sent none.
	UserAgent             string
	CorrelatingToolCallID string // Of the last tool result in the request, or empty.
	CredentialKind        CredentialKind
	CredentialHint        string

	RequestBytes  int64  // Of the body, as the client sent it.
	RequestSHA256 []byte // Of the same.
}

// PromptUsage is what a person typed. An interception has at most one.
type PromptUsage struct {
	RecordID       uuid.UUID
	InterceptionID uuid.UUID
	MessageID      string
	Prompt         string
	Metadata       Metadata
	CreatedAt      time.Time
}

// TokenUsage is what one upstream answer cost. InputTokens excludes cached tokens in every format.
type TokenUsage struct {
	RecordID              uuid.UUID
	InterceptionID        uuid.UUID
	MessageID             string
	InputTokens           int64
	OutputTokens          int64
	CacheReadInputTokens  int64
	CacheWriteInputTokens int64
	Metadata              Metadata // Kinds of tokens without a field of their own, among others.
	CreatedAt             time.Time
	BackgroundID          uuid.UUID // See [InterceptionEnd].
}

// ToolUsage is one call that the model made.
type ToolUsage struct {
	RecordID        uuid.UUID
	InterceptionID  uuid.UUID
	MessageID       string
	ToolCallID      string
	ItemID          string
	Tool            string
	Input           string // The model's bytes where they are JSON, else a JSON string that holds them.
	Injected        bool
	ServerURL       string // Of the MCP server, where injected.
	InvocationError string // Where injected and failed.
	Metadata        Metadata
	CreatedAt       time.Time
	BackgroundID    uuid.UUID // See [InterceptionEnd].
}

// ModelThought is one piece of reasoning that the model showed. A redacted one is empty, with metadata to say so.
type ModelThought struct {
	RecordID       uuid.UUID
	InterceptionID uuid.UUID
	Content        string
	Metadata       Metadata
	CreatedAt      time.Time
	BackgroundID   uuid.UUID // See [InterceptionEnd].
}

// ErrorType says in one word how an interception failed.
type ErrorType string

// The error types. The empty one is a success.
const (
	ErrorBadRequest   ErrorType = "bad_request"
	ErrorUnauthorized ErrorType = "unauthorized"
	ErrorRateLimited  ErrorType = "rate_limited"
	ErrorOverloaded   ErrorType = "overloaded"
	ErrorServer       ErrorType = "server_error"
	ErrorTimeout      ErrorType = "timeout"
	ErrorTruncated    ErrorType = "truncated"
	ErrorClientClosed ErrorType = "client_closed"
	ErrorUnknown      ErrorType = "unknown"
)

// InterceptionEnd ends an interception. Every start is followed by one, however the request went.
type InterceptionEnd struct {
	RecordID       uuid.UUID
	InterceptionID uuid.UUID
	EndedAt        time.Time
	CredentialHint string // Of the credential that went upstream.
	ErrorType      ErrorType
	ErrorMessage   string // At most 1,024 bytes, whole characters.
	Model          string // That answered, if the request named none; else empty.
	// BackgroundID is the id of the background response that the interception began, or the zero UUID. The records of
	// what the response did have the same one. They come when its final state is read, which may be after the end.
	BackgroundID uuid.UUID
	// Unread is how many events of the upstream's answers were not understood, or not in full. The records lack what they
	// said. An answer that is no stream counts as one event.
	Unread int64
	// FirstByte is how long it took from the start to the first byte of the upstream's first answer. Zero: none came.
	FirstByte time.Duration

	// ResponseBytes and ResponseSHA256 are those of the upstream's answers, one behind the other, up to and with the
	// read that brought the event that ended the last one. The hash is nil where there was none.
	ResponseBytes  int64
	ResponseSHA256 []byte
}
