package aibridgedserver

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// throughMessage returns what metadataObject must write for one entry. It decodes the message, which works for every
// kind of value.
func throughMessage(name string, entry *anypb.Any) ([]byte, error) {
	var value structpb.Value
	if err := entry.UnmarshalTo(&value); err != nil {
		return []byte("{}"), err
	}
	text, err := marshal(value.AsInterface())
	if err != nil {
		return []byte("{}"), err
	}
	object, err := marshal(map[string]json.RawMessage{name: text})
	return object, err
}

// FuzzMetadata checks that the quick way for plain values gives the same as decoding the message, for any bytes.
func FuzzMetadata(f *testing.F) {
	add := func(name string, value any) {
		v, err := structpb.NewValue(value)
		if err != nil {
			f.Fatal(err)
		}
		encoded, err := protobuf.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(valueType, name, encoded)
	}
	for _, value := range []any{
		nil, true, false, "", "plain", `"quoted" \ <b>&amp;`, "Gr\u00fc\u00dfe \u2028\x00\x7f", "\u00e9", 0.0, math.Copysign(0, -1), 1.0, -7.0,
		0.5, 1e15, 1 << 53, 1<<53 + 2, -1 << 53, 1e20, 1e21, 1e-7, 1e300, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1),
		[]any{1.0, "a"}, map[string]any{"a": nil},
	} {
		add("name", value)
	}
	add("", "no name")
	add("na\"me<\u00e9", 1.0)
	number := protowire.AppendFixed64(protowire.AppendTag(nil, valueNumber, protowire.Fixed64Type), math.Float64bits(3))
	text := protowire.AppendString(protowire.AppendTag(nil, valueString, protowire.BytesType), "a")
	f.Add("google.protobuf.Value", "n", number)
	f.Add("elsewhere.example/google.protobuf.Value", "n", number)
	f.Add("type.googleapis.com/google.protobuf.Duration", "n", []byte{8, 5})
	f.Add(valueType, "two", append(bytes.Clone(number), text...))
	f.Add(valueType, "twice", append(bytes.Clone(text), text...))
	f.Add(valueType, "truth", []byte{valueBool << 3, 7})
	f.Add(valueType, "long truth", []byte{valueBool << 3, 0x80, 0x80, 0x00})
	f.Add(valueType, "wrong kind", []byte{valueString << 3, 1})
	f.Add(valueType, "unknown field", []byte{9 << 3, 1})
	f.Add(valueType, "cut", number[:4])
	f.Add(valueType, "long tag", []byte{valueBool<<3 | 0x80, 0x00, 1})
	f.Fuzz(func(t *testing.T, kind, name string, encoded []byte) {
		entry := &anypb.Any{TypeUrl: kind, Value: encoded}
		got, failures := metadataObject(map[string]*anypb.Any{name: entry})
		want, err := throughMessage(name, entry)
		if string(got) != string(want) || (len(failures) > 0) != (err != nil) {
			t.Errorf("got %s, %v, want %s, %v", got, failures, want, err)
		}
		if !json.Valid(got) {
			t.Errorf("%s is no JSON", got)
		}
		// Among several entries, it stands at the place of its name.
		other := &anypb.Any{TypeUrl: valueType, Value: number}
		both, _ := metadataObject(map[string]*anypb.Any{name + "z": other, name: entry})
		isFirst := strings.HasPrefix(string(both), strings.TrimSuffix(string(got), "}"))
		if !json.Valid(both) || !isFirst || err == nil && !bytes.Contains(both, []byte(`,"`)) {
			t.Errorf("with another: %s", both)
		}
	})
}
