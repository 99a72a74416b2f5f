package aibridgedserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/proto"
)

// record is a record as it is stored, or the reason why it is not.
type record struct {
	interception uuid.UUID
	into         insertion // insertStart, insertEnd, or that of a record that belongs to an interception.
	values       []any     // The values of its row, in the order of the insertion's columns.
	at           int64     // The record's time in microseconds, or that of its arrival if that is earlier.
	// failure is why the record is not stored. It is set for a bad request, and by the writer.
	failure error
	// permanent says that the record itself causes the failure, so that it will never be stored.
	permanent bool
}

// refused returns a record that can never be stored, because of err.
func refused(err error) *record { return &record{failure: err, permanent: true} }

// record returns the one of the six records that in holds.
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
	id, err := parseID("id", in.GetId())
	if err != nil {
		return refused(err)
	}
	initiator, err := parseID("initiator_id", in.GetInitiatorId())
	if err != nil {
		return refused(err)
	}
	size, hash := bodySum(in.GetRequestBytes(), in.GetRequestSha256())
	at := micros(in.GetStartedAt())
	return newRecord(insertStart, id, at, []any{
		id[:], initiator[:], in.GetApiKeyId(), in.GetProvider(), in.GetProviderName(), in.GetModel(), in.GetClient(),
		nullable(in.ClientSessionId), in.GetUserAgent(), nullable(in.CorrelatingToolCallId), in.GetCredentialKind(),
		in.GetCredentialHint(), nullable(in.AgentFirewallSessionId), sequenceNumber(in.AgentFirewallSequenceNumber),
		s.metadata(ctx, id, in.GetMetadata()), at, size, hash,
	})
}

// endPrefix is how many values of an end, its id and its time, are left out where start and end are stored as one row.
const endPrefix = 2

// interceptionEnded does not need the record id: an interception ends once, so its own id is enough to store the end
// once.
func (s *Server) interceptionEnded(in *proto.RecordInterceptionEndedRequest) *record {
	id, err := parseID("id", in.GetId())
	if err != nil {
		return refused(err)
	}
	size, hash := bodySum(in.GetResponseBytes(), in.GetResponseSha256())
	at := micros(in.GetEndedAt())
	var background any
	if in.BackgroundId != nil {
		id, err := parseID("background_id", in.GetBackgroundId())
		if err != nil {
			return refused(err)
		}
		background = id[:]
	}
	r := newRecord(insertEnd, id, at, nil)
	r.values = []any{
		id[:], r.at, at, in.GetCredentialHint(), nullable(in.ErrorType), nullable(in.ErrorMessage), size, hash, in.GetModel(),
		background, in.GetUnread(), in.GetFirstByteMicros(),
	}
	return r
}

func (s *Server) tokenUsage(ctx context.Context, in *proto.RecordTokenUsageRequest) *record {
	id, interception, err := backgroundIDs(in)
	if err != nil {
		return refused(err)
	}
	at := micros(in.GetCreatedAt())
	return newRecord(insertTokenUsage, interception, at, []any{
		interception[:], id[:], at, in.GetMsgId(), in.GetInputTokens(), in.GetOutputTokens(), in.GetCacheReadInputTokens(),
		in.GetCacheWriteInputTokens(), s.metadata(ctx, interception, in.GetMetadata()),
	})
}

func (s *Server) promptUsage(ctx context.Context, in *proto.RecordPromptUsageRequest) *record {
	id, interception, err := ids(in)
	if err != nil {
		return refused(err)
	}
	at := micros(in.GetCreatedAt())
	return newRecord(insertPrompt, interception, at, []any{
		interception[:], id[:], at, in.GetMsgId(), s.metadata(ctx, interception, in.GetMetadata()), in.GetPrompt(),
	})
}

func (s *Server) toolUsage(ctx context.Context, in *proto.RecordToolUsageRequest) *record {
	id, interception, err := backgroundIDs(in)
	if err != nil {
		return refused(err)
	}
	at := micros(in.GetCreatedAt())
	return newRecord(insertToolUsage, interception, at, []any{
		interception[:], id[:], at, in.GetMsgId(), in.GetToolCallId(), in.GetItemId(), nullable(in.ServerUrl), in.GetTool(),
		in.GetInjected(), s.metadata(ctx, interception, in.GetMetadata()), nullable(in.InvocationError), in.GetInput(),
	})
}

func (s *Server) modelThought(ctx context.Context, in *proto.RecordModelThoughtRequest) *record {
	id, interception, err := backgroundIDs(in)
	if err != nil {
		return refused(err)
	}
	at := micros(in.GetCreatedAt())
	return newRecord(insertThought, interception, at, []any{
		interception[:], id[:], at, s.metadata(ctx, interception, in.GetMetadata()), in.GetContent(),
	})
}

// newRecord returns a record whose time is at, or now if at is later.
func newRecord(into insertion, interception uuid.UUID, at int64, values []any) *record {
	return &record{interception: interception, into: into, values: values, at: min(at, time.Now().UnixMicro())}
}

// ids returns the id of a record that belongs to an interception, and that of the interception. If the client sends no
// record id, ids makes one; such a record is stored twice if the client sends it twice.
func ids(in interface {
	GetRecordId() string
	GetInterceptionId() string
}) (id, interception uuid.UUID, err error) {
	interception, err = parseID("interception_id", in.GetInterceptionId())
	if err != nil {
		return uuid.Nil, uuid.Nil, err
	}
	if in.GetRecordId() == "" {
		id, err = uuid.NewV7()
	} else {
		id, err = parseID("record_id", in.GetRecordId())
	}
	return id, interception, err
}

// backgroundIDs is ids for a record that may belong to a background response. Such a record is kept under the id of the
// response, and is found by the end that has the same one: the interception may not have been known to the client, and
// its end may come later.
func backgroundIDs(in interface {
	GetRecordId() string
	GetInterceptionId() string
	GetBackgroundId() string
}) (id, home uuid.UUID, err error) {
	id, home, err = ids(in)
	if err == nil && in.GetBackgroundId() != "" {
		home, err = parseID("background_id", in.GetBackgroundId())
	}
	return id, home, err
}

// bodySum returns the size and the hash of a body, each nil if the gateway did not send it.
func bodySum(size int64, sha256 []byte) (any, any) {
	var hash any
	if len(sha256) > 0 {
		hash = sha256
	}
	if size == 0 && hash == nil {
		return nil, nil
	}
	return size, hash
}

// parseID returns the UUID in text, in any of its spellings.
func parseID(field, text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, fmt.Errorf("%s is no UUID: %w", field, err)
	}
	return id, nil
}

// nullable returns the text of an optional field, or nil if it is not set.
func nullable(field *string) any {
	if field == nil {
		return nil
	}
	return *field
}

// sequenceNumber returns the number of an optional field, or nil if it is not set.
func sequenceNumber(field *int32) any {
	if field == nil {
		return nil
	}
	return int64(*field)
}
