package recording

import (
	"math"
	"testing"

	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/coder/aibridged/aibridge"
)

// TestMetadataToProto holds what is packed against the message that it stands for.
func TestMetadataToProto(t *testing.T) {
	t.Parallel()
	metadata := aibridge.Metadata{
		"empty": "", "text": "Gr\u00fc\u00dfe", "true": true, "false": false, "zero": int64(0), "count": int64(-7), "large": int64(1) << 60,
		"part": 0.25, "infinite": math.Inf(1), "nothing": nil, "list": []any{"a", int64(1)}, "map": map[string]any{"b": false},
		"invalid": "\xff", "channel": make(chan int),
	}
	packed := metadataToProto(metadata)
	for name, value := range metadata {
		want, err := structpb.NewValue(value)
		if err != nil {
			if packed[name] != nil {
				t.Errorf("%s: packed %v, want nothing", name, packed[name])
			}
			continue
		}
		whole, err := anypb.New(want)
		if err != nil {
			t.Fatal(err)
		}
		got := &structpb.Value{}
		if err := packed[name].UnmarshalTo(got); err != nil || !protobuf.Equal(got, want) || packed[name].GetTypeUrl() != whole.GetTypeUrl() {
			t.Errorf("%s: packed %v, %v, want %v", name, got, err, want)
		}
	}
}
