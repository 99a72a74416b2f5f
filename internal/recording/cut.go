package recording

import (
	"encoding/json"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/proto"
)

const (
	// batchBytes is the most that one call over a connection carries.
	batchBytes = 3 << 20
	// nameBytes is what a name is cut to, and textBytes what the one text beside the names is cut to, in a record that
	// alone is larger than one call.
	nameBytes = 64 << 10
	textBytes = batchBytes - 8*nameBytes
)

// cutRecord cuts the texts of a record to what a connection carries, and notes that in the record's metadata.
func cutRecord(record *proto.Record) {
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
		// Half of a JSON value is no JSON: what is left of it goes into a JSON string, where escapes may take six bytes
		// for one.
		if quoted, err := json.Marshal(storable.Cut(r.ToolUsage.GetInput(), textBytes/6)); err == nil {
			r.ToolUsage.Input = string(quoted)
		}
		flagCut(&r.ToolUsage.Metadata)
	}
}

// cutNames cuts names that are too long. A nil name is absent.
func cutNames(names ...*string) {
	for _, name := range names {
		if name != nil {
			*name = storable.Cut(*name, nameBytes)
		}
	}
}

func flagCut(metadata *map[string]*anypb.Any) {
	flag, err := anypb.New(structpb.NewBoolValue(true))
	if err != nil {
		return // It never fails for a message that is well formed.
	}
	if *metadata == nil {
		*metadata = map[string]*anypb.Any{}
	}
	(*metadata)["truncated"] = flag
}
