package recording

import (
	"encoding/json"

	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/proto"
)

const (
	// batchBytes is the most that one call over a connection carries.
	batchBytes = 3 << 20
	// nameBytes is what a name is cut to, and textBytes the one text beside the names, in a record that alone is more.
	nameBytes = 64 << 10
	textBytes = batchBytes - 8*nameBytes
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
	switch r := record.GetRecord().(type) {
	case *proto.Record_Interception:
		cutNames(&r.Interception.Model, r.Interception.ClientSessionId, &r.Interception.UserAgent, r.Interception.CorrelatingToolCallId)
		flagCut(&r.Interception.Metadata)
	case *proto.Record_TokenUsage:
		cutNames(&r.TokenUsage.MsgId)
		flagCut(&r.TokenUsage.Metadata)
	case *proto.Record_PromptUsage:
		r.PromptUsage.Prompt = storable.Cut(r.PromptUsage.GetPrompt(), textBytes)
		flagCut(&r.PromptUsage.Metadata)
	case *proto.Record_ModelThought:
		r.ModelThought.Content = storable.Cut(r.ModelThought.GetContent(), textBytes)
		flagCut(&r.ModelThought.Metadata)
	case *proto.Record_ToolUsage:
		cutNames(&r.ToolUsage.MsgId, &r.ToolUsage.ToolCallId, &r.ToolUsage.ItemId, &r.ToolUsage.Tool)
		// Half of a JSON value is none: what is left of it goes into a string, whose escapes may take six bytes for one.
		if quoted, err := json.Marshal(storable.Cut(r.ToolUsage.GetInput(), textBytes/6)); err == nil {
			r.ToolUsage.Input = string(quoted)
		}
		flagCut(&r.ToolUsage.Metadata)
	}
	return record
}

// cutNames cuts names that are too long. Nil is one that is not there.
func cutNames(names ...*string) {
	for _, name := range names {
		if name != nil {
			*name = storable.Cut(*name, nameBytes)
		}
	}
}

func flagCut(metadata *map[string]*anypb.Any) {
	if *metadata == nil {
		*metadata = map[string]*anypb.Any{}
	}
	(*metadata)["truncated"] = metadataToProto(aibridge.Metadata{"truncated": true})["truncated"]
}
