package recording

import (
	"unicode/utf8"

	"github.com/google/uuid"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/proto"
)

// plainRecord returns a record as a message, built the plain way.
func plainRecord(record aibridge.Record) *proto.Record {
	switch r := record.(type) {
	case *aibridge.InterceptionStart:
		return &proto.Record{Record: &proto.Record_Interception{Interception: &proto.RecordInterceptionRequest{
			Id: r.ID.String(), InitiatorId: r.InitiatorID, ApiKeyId: r.APIKeyID,
			Provider: r.Provider, ProviderName: r.ProviderName, Model: r.Model,
			Metadata: plainMetadata(r.Metadata), StartedAt: timestamppb.New(r.StartedAt),
			Client: r.Client, ClientSessionId: optional(r.ClientSessionID), UserAgent: r.UserAgent,
			CorrelatingToolCallId: optional(r.CorrelatingToolCallID),
			CredentialKind:        string(r.CredentialKind), CredentialHint: r.CredentialHint,
			RequestBytes: r.RequestBytes, RequestSha256: r.RequestSHA256,
		}}}
	case *aibridge.PromptUsage:
		return &proto.Record{Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
			RecordId: r.RecordID.String(), InterceptionId: r.InterceptionID.String(), MsgId: r.MessageID,
			Prompt: r.Prompt, Metadata: plainMetadata(r.Metadata), CreatedAt: timestamppb.New(r.CreatedAt),
		}}}
	case *aibridge.TokenUsage:
		return &proto.Record{Record: &proto.Record_TokenUsage{TokenUsage: &proto.RecordTokenUsageRequest{
			RecordId: r.RecordID.String(), InterceptionId: r.InterceptionID.String(), MsgId: r.MessageID,
			InputTokens: r.InputTokens, OutputTokens: r.OutputTokens,
			CacheReadInputTokens: r.CacheReadInputTokens, CacheWriteInputTokens: r.CacheWriteInputTokens,
			Metadata: plainMetadata(r.Metadata), CreatedAt: timestamppb.New(r.CreatedAt), BackgroundId: optionalID(r.BackgroundID),
		}}}
	case *aibridge.ToolUsage:
		return &proto.Record{Record: &proto.Record_ToolUsage{ToolUsage: &proto.RecordToolUsageRequest{
			RecordId: r.RecordID.String(), InterceptionId: r.InterceptionID.String(), MsgId: r.MessageID,
			ToolCallId: r.ToolCallID, ItemId: r.ItemID, Tool: r.Tool, Input: r.Input, Injected: r.Injected,
			ServerUrl: optional(r.ServerURL), InvocationError: optional(r.InvocationError),
			Metadata: plainMetadata(r.Metadata), CreatedAt: timestamppb.New(r.CreatedAt), BackgroundId: optionalID(r.BackgroundID),
		}}}
	case *aibridge.ModelThought:
		return &proto.Record{Record: &proto.Record_ModelThought{ModelThought: &proto.RecordModelThoughtRequest{
			RecordId: r.RecordID.String(), InterceptionId: r.InterceptionID.String(),
			Content: r.Content, Metadata: plainMetadata(r.Metadata), CreatedAt: timestamppb.New(r.CreatedAt),
			BackgroundId: optionalID(r.BackgroundID),
		}}}
	case *aibridge.InterceptionEnd:
		return &proto.Record{Record: &proto.Record_InterceptionEnded{InterceptionEnded: &proto.RecordInterceptionEndedRequest{
			RecordId: r.RecordID.String(), Id: r.InterceptionID.String(), EndedAt: timestamppb.New(r.EndedAt),
			CredentialHint: r.CredentialHint, ErrorType: optional(string(r.ErrorType)), ErrorMessage: optional(r.ErrorMessage),
			ResponseBytes: r.ResponseBytes, ResponseSha256: r.ResponseSHA256,
			Model: r.Model, BackgroundId: optionalID(r.BackgroundID), Unread: r.Unread,
			FirstByteMicros: r.FirstByte.Microseconds(),
		}}}
	}
	return &proto.Record{}
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func optionalID(id uuid.UUID) *string {
	if id == uuid.Nil {
		return nil
	}
	return optional(id.String())
}

// plainMetadata packs each value into an Any, and leaves out what cannot be packed.
func plainMetadata(metadata aibridge.Metadata) map[string]*anypb.Any {
	var packed map[string]*anypb.Any
	for name, value := range metadata {
		message, err := structpb.NewValue(value)
		if err != nil || !utf8.ValidString(name) {
			continue
		}
		if packed == nil {
			packed = map[string]*anypb.Any{}
		}
		packed[name] = &anypb.Any{} // Its bytes are compared, so maps in it need a fixed order.
		if err := anypb.MarshalFrom(packed[name], message, protobuf.MarshalOptions{Deterministic: true}); err != nil {
			panic(err)
		}
	}
	return packed
}
