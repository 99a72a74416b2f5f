package recording

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/coder/aibridged/aibridge"
)

// metadataToProto packs each value into an Any. What cannot be packed is left out: metadata never fails a record.
func metadataToProto(metadata aibridge.Metadata) map[string]*anypb.Any {
	if len(metadata) == 0 {
		return nil
	}
	packed := make(map[string]*anypb.Any, len(metadata))
	for name, value := range metadata {
		if encoded := packValue(value); encoded != nil {
			packed[name] = encoded
		}
	}
	return packed
}

// The numbers of the fields of google.protobuf.Value.
const (
	valueNumber = 2
	valueString = 3
	valueBool   = 4
)

// packValue returns a google.protobuf.Value in an Any, or nil for what none can hold. The plain kinds, which nearly all
// metadata is of, are encoded here: packing them through the message costs ten times as much.
func packValue(value any) *anypb.Any {
	switch value := value.(type) {
	case string:
		if !utf8.ValidString(value) {
			return nil
		}
		encoded := protowire.AppendTag(make([]byte, 0, 6+len(value)), valueString, protowire.BytesType)
		return valueOf(protowire.AppendString(encoded, value))
	case bool:
		encoded := protowire.AppendTag(make([]byte, 0, 2), valueBool, protowire.VarintType)
		return valueOf(protowire.AppendVarint(encoded, protowire.EncodeBool(value)))
	case int64:
		return packNumber(float64(value))
	case float64:
		return packNumber(value)
	}
	message, err := structpb.NewValue(value)
	if err != nil {
		return nil
	}
	encoded, err := anypb.New(message)
	if err != nil {
		return nil
	}
	return encoded
}

func packNumber(value float64) *anypb.Any {
	encoded := protowire.AppendTag(make([]byte, 0, 9), valueNumber, protowire.Fixed64Type)
	return valueOf(protowire.AppendFixed64(encoded, math.Float64bits(value)))
}

func valueOf(encoded []byte) *anypb.Any {
	return &anypb.Any{TypeUrl: "type.googleapis.com/google.protobuf.Value", Value: encoded}
}
