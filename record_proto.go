package aibridged

import (
	"encoding/json"

	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/proto"
)

// recordsToProto returns the records as the contract with the control plane has them.
func recordsToProto(records []aibridge.Record) []*proto.Record {
	messages := make([]*proto.Record, len(records))
	for i, record := range records {
		messages[i] = recordToProto(record)
	}
	return messages
}

// recordToProto returns the record as the contract with the control plane has it.
func recordToProto(record aibridge.Record) *proto.Record {
	switch r := record.(type) {
	case *aibridge.InterceptionStart:
		return &proto.Record{Record: &proto.Record_Interception{Interception: &proto.RecordInterceptionRequest{
			Id: r.ID.String(), InitiatorId: r.InitiatorID, ApiKeyId: r.APIKeyID,
			Provider: r.Provider, ProviderName: r.ProviderName, Model: r.Model,
			Metadata: metadataToProto(r.Metadata), StartedAt: timestamppb.New(r.StartedAt),
			Client: r.Client, ClientSessionId: optional(r.ClientSessionID), UserAgent: r.UserAgent,
			CorrelatingToolCallId: optional(r.CorrelatingToolCallID),
			CredentialKind:        string(r.CredentialKind), CredentialHint: r.CredentialHint,
			RequestBytes: r.RequestBytes, RequestSha256: r.RequestSHA256,
		}}}
	case *aibridge.PromptUsage:
		return &proto.Record{Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
			RecordId: r.RecordID.String(), InterceptionId: r.InterceptionID.String(), MsgId: r.MessageID,
			Prompt: r.Prompt, Metadata: metadataToProto(r.Metadata), CreatedAt: timestamppb.New(r.CreatedAt),
		}}}
	case *aibridge.TokenUsage:
		return &proto.Record{Record: &proto.Record_TokenUsage{TokenUsage: &proto.RecordTokenUsageRequest{
			RecordId: r.RecordID.String(), InterceptionId: r.InterceptionID.String(), MsgId: r.MessageID,
			InputTokens: r.InputTokens, OutputTokens: r.OutputTokens,
			CacheReadInputTokens: r.CacheReadInputTokens, CacheWriteInputTokens: r.CacheWriteInputTokens,
			Metadata: metadataToProto(r.Metadata), CreatedAt: timestamppb.New(r.CreatedAt),
		}}}
	case *aibridge.ToolUsage:
		return &proto.Record{Record: &proto.Record_ToolUsage{ToolUsage: &proto.RecordToolUsageRequest{
			RecordId: r.RecordID.String(), InterceptionId: r.InterceptionID.String(), MsgId: r.MessageID,
			ToolCallId: r.ToolCallID, ItemId: r.ItemID, Tool: r.Tool, Input: r.Input, Injected: r.Injected,
			ServerUrl: optional(r.ServerURL), InvocationError: optional(r.InvocationError),
			Metadata: metadataToProto(r.Metadata), CreatedAt: timestamppb.New(r.CreatedAt),
		}}}
	case *aibridge.ModelThought:
		return &proto.Record{Record: &proto.Record_ModelThought{ModelThought: &proto.RecordModelThoughtRequest{
			RecordId: r.RecordID.String(), InterceptionId: r.InterceptionID.String(),
			Content: r.Content, Metadata: metadataToProto(r.Metadata), CreatedAt: timestamppb.New(r.CreatedAt),
		}}}
	case *aibridge.InterceptionEnd:
		return &proto.Record{Record: &proto.Record_InterceptionEnded{InterceptionEnded: &proto.RecordInterceptionEndedRequest{
			RecordId: r.RecordID.String(), Id: r.InterceptionID.String(), EndedAt: timestamppb.New(r.EndedAt),
			CredentialHint: r.CredentialHint, ErrorType: optional(string(r.ErrorType)), ErrorMessage: optional(r.ErrorMessage),
			ResponseBytes: r.ResponseBytes, ResponseSha256: r.ResponseSHA256,
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

const (
	// batchBytes is the most that one call over a connection carries.
	batchBytes = 3 << 20
	// recordBytes is what a record's text is cut to where the record alone is more than that.
	recordBytes = batchBytes - 64<<10
)

// splitRecords returns the records in batches that a connection carries, in their order.
func splitRecords(records []*proto.Record) [][]*proto.Record {
	var (
		batches [][]*proto.Record
		size    int
	)
	for _, record := range records {
		// Tag and length of the record within the batch take a few bytes more.
		n := protobuf.Size(record) + 8
		if n > batchBytes {
			record = cutRecord(record)
			n = protobuf.Size(record) + 8
		}
		if len(batches) == 0 || size+n > batchBytes {
			batches, size = append(batches, nil), 0
		}
		last := len(batches) - 1
		batches[last] = append(batches[last], record)
		size += n
	}
	return batches
}

// cutRecord returns a copy of a record with as much of its text as a connection carries, and metadata that says so.
func cutRecord(record *proto.Record) *proto.Record {
	record = protobuf.CloneOf(record)
	flag := metadataToProto(aibridge.Metadata{"truncated": true})["truncated"]
	mark := func(metadata *map[string]*anypb.Any) {
		if *metadata == nil {
			*metadata = map[string]*anypb.Any{}
		}
		(*metadata)["truncated"] = flag
	}
	switch r := record.GetRecord().(type) {
	case *proto.Record_PromptUsage:
		r.PromptUsage.Prompt = storable.Cut(r.PromptUsage.GetPrompt(), recordBytes)
		mark(&r.PromptUsage.Metadata)
	case *proto.Record_ModelThought:
		r.ModelThought.Content = storable.Cut(r.ModelThought.GetContent(), recordBytes)
		mark(&r.ModelThought.Metadata)
	case *proto.Record_ToolUsage:
		// Half of a JSON value is none: what is left of it goes into a string, whose escapes may take six bytes for one.
		quoted, err := json.Marshal(storable.Cut(r.ToolUsage.GetInput(), recordBytes/6))
		if err == nil {
			r.ToolUsage.Input = string(quoted)
		}
		mark(&r.ToolUsage.Metadata)
	}
	return record
}
