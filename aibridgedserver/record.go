package aibridgedserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/coder/aibridged/proto"
)

// record is a record made ready to be stored.
type record struct {
	// rows begin with the record's own: what becomes of that one becomes of the record.
	rows []row
	// duplicate says that it had been stored before. The writer sets it.
	duplicate bool
	// failure is why the record is not stored: set where its request makes no record, and by the writer.
	failure error
	// permanent says that the failure is the record's own.
	permanent bool
}

// row is one row of one table.
type row struct {
	into   statement
	values []any // In the order of the statement's placeholders.
}

// refused returns a record that can never be stored.
func refused(err error) *record { return &record{failure: err, permanent: true} }

// record returns in as a record, whichever of the six it is.
func (s *Server) record(ctx context.Context, in *proto.Record) *record {
	switch in := in.GetRecord().(type) {
	case *proto.Record_Interception:
		return s.interception(ctx, in.Interception)
	case *proto.Record_InterceptionEnded:
		return s.interceptionEnded(in.InterceptionEnded)
	case *proto.Record_TokenUsage:
		return s.tokenUsage(ctx, in.TokenUsage)
	case *proto.Record_PromptUsage:
		return s.promptUsage(ctx, in.PromptUsage)
	case *proto.Record_ToolUsage:
		return s.toolUsage(ctx, in.ToolUsage)
	case *proto.Record_ModelThought:
		return s.modelThought(ctx, in.ModelThought)
	default:
		return refused(errors.New("record holds none of the six records"))
	}
}

func (s *Server) interception(ctx context.Context, in *proto.RecordInterceptionRequest) *record {
	id, err := canonical("id", in.GetId())
	if err != nil {
		return refused(err)
	}
	initiator, err := canonical("initiator_id", in.GetInitiatorId())
	if err != nil {
		return refused(err)
	}
	size, hash := digest(in.GetRequestBytes(), in.GetRequestSha256())
	return &record{rows: []row{{insertInterception, []any{
		id, initiator, in.GetApiKeyId(), in.GetProvider(), in.GetProviderName(), in.GetModel(), in.GetClient(),
		nullable(in.ClientSessionId), in.GetUserAgent(), nullable(in.CorrelatingToolCallId), in.GetCredentialKind(),
		in.GetCredentialHint(), nullable(in.AgentFirewallSessionId), nullable(in.AgentFirewallSequenceNumber),
		s.metadata(ctx, id, in.GetMetadata()), micros(in.GetStartedAt()), size, hash,
	}}}}
}

// interceptionEnded needs no record id to be stored once: an interception ends once.
func (s *Server) interceptionEnded(in *proto.RecordInterceptionEndedRequest) *record {
	id, err := canonical("id", in.GetId())
	if err != nil {
		return refused(err)
	}
	size, hash := digest(in.GetResponseBytes(), in.GetResponseSha256())
	return &record{rows: []row{{insertEnd, []any{
		id, micros(in.GetEndedAt()), in.GetCredentialHint(), nullable(in.ErrorType), nullable(in.ErrorMessage), size, hash,
	}}}}
}

func (s *Server) tokenUsage(ctx context.Context, in *proto.RecordTokenUsageRequest) *record {
	id, interception, err := ids(in)
	if err != nil {
		return refused(err)
	}
	return &record{rows: []row{{insertTokenUsage, []any{
		id, interception, in.GetMsgId(), in.GetInputTokens(), in.GetOutputTokens(), in.GetCacheReadInputTokens(),
		in.GetCacheWriteInputTokens(), s.metadata(ctx, interception, in.GetMetadata()), micros(in.GetCreatedAt()),
	}}}}
}

func (s *Server) promptUsage(ctx context.Context, in *proto.RecordPromptUsageRequest) *record {
	id, interception, err := ids(in)
	if err != nil {
		return refused(err)
	}
	return &record{rows: []row{{insertPrompt, []any{
		id, interception, in.GetMsgId(), s.metadata(ctx, interception, in.GetMetadata()), micros(in.GetCreatedAt()),
	}}, {insertPromptText, []any{id, in.GetPrompt()}}}}
}

func (s *Server) toolUsage(ctx context.Context, in *proto.RecordToolUsageRequest) *record {
	id, interception, err := ids(in)
	if err != nil {
		return refused(err)
	}
	return &record{rows: []row{{insertToolUsage, []any{
		id, interception, in.GetMsgId(), in.GetToolCallId(), in.GetItemId(), nullable(in.ServerUrl), in.GetTool(),
		in.GetInjected(), nullable(in.InvocationError), s.metadata(ctx, interception, in.GetMetadata()),
		micros(in.GetCreatedAt()),
	}}, {insertToolInput, []any{id, in.GetInput()}}}}
}

func (s *Server) modelThought(ctx context.Context, in *proto.RecordModelThoughtRequest) *record {
	id, interception, err := ids(in)
	if err != nil {
		return refused(err)
	}
	return &record{rows: []row{{insertThought, []any{
		id, interception, s.metadata(ctx, interception, in.GetMetadata()), micros(in.GetCreatedAt()),
	}}, {insertThoughtText, []any{id, in.GetContent()}}}}
}

// ids returns the ids of a child of an interception. A client that sends no record id gets one made here: its records
// can be stored twice if it sends them twice.
func ids(in interface {
	GetRecordId() string
	GetInterceptionId() string
}) (id, interception string, err error) {
	interception, err = canonical("interception_id", in.GetInterceptionId())
	if err != nil {
		return "", "", err
	}
	if in.GetRecordId() == "" {
		made, err := uuid.NewV7()
		return made.String(), interception, err
	}
	id, err = canonical("record_id", in.GetRecordId())
	return id, interception, err
}

// digest returns the size and the hash of a body, both nil where the gateway did not tell them.
func digest(size int64, sha256 []byte) (any, any) {
	if len(sha256) == 0 {
		return nil, nil
	}
	return size, sha256
}

// canonical returns the one spelling of a UUID by which it is stored and compared.
func canonical(field, text string) (string, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return "", fmt.Errorf("%s is no UUID: %w", field, err)
	}
	return id.String(), nil
}

// nullable returns what an optional field holds, or nil where it is not set.
func nullable[T any](field *T) any {
	if field == nil {
		return nil
	}
	return *field
}
