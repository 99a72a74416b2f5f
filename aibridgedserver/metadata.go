package aibridgedserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// metadata returns a record's metadata as the JSON object that is stored. Its names are in ascending order, so equal
// metadata is equal text. Entries that hold no JSON value are left out, with a warning.
func (s *Server) metadata(ctx context.Context, interception uuid.UUID, entries map[string]*anypb.Any) string {
	if len(entries) == 0 {
		return "{}"
	}
	text, failures := metadataObject(entries)
	if failures != nil {
		s.logger.Warn(ctx, "record metadata cannot be read", slog.F("interception_id", interception),
			slog.F("failures", len(failures)), slog.Error(failures[0]))
	}
	return string(text)
}

// metadataObject returns the JSON object of those entries that hold a JSON value, and an error for each of the others.
func metadataObject(entries map[string]*anypb.Any) (text []byte, failures []error) {
	text = append(make([]byte, 0, 64*len(entries)), '{')
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		end := len(text)
		if end > 1 {
			text = append(text, ',')
		}
		with, err := appendEntry(text, name, entries[name])
		if err != nil {
			failures, text = append(failures, err), text[:end]
			continue
		}
		text = with
	}
	return append(text, '}'), failures
}

func appendEntry(text []byte, name string, entry *anypb.Any) ([]byte, error) {
	text, err := appendString(text, name)
	if err != nil {
		return nil, err
	}
	text = append(text, ':')
	if with, ok := appendPlain(text, entry); ok {
		return with, nil
	}
	value, err := metadataValue(entry)
	return append(text, value...), err
}

// The numbers of the fields of google.protobuf.Value that hold a value in themselves.
const (
	valueType   = "type.googleapis.com/google.protobuf.Value"
	valueNumber = 2
	valueString = 3
	valueBool   = 4
)

// largestWhole bounds the whole numbers that JSON writes without an exponent and a float64 holds exactly.
const largestWhole = 1 << 53

// appendPlain appends the JSON of entry, and returns true, if entry holds a text that needs no escapes, a whole number
// or a truth value. Nearly all metadata is of these kinds, and decoding the message costs ten times as much.
func appendPlain(text []byte, entry *anypb.Any) ([]byte, bool) {
	if entry.GetTypeUrl() != valueType {
		return text, false
	}
	number, kind, n := protowire.ConsumeTag(entry.Value)
	if n < 0 {
		return text, false
	}
	encoded := entry.Value[n:]
	switch {
	case number == valueString && kind == protowire.BytesType:
		value, n := protowire.ConsumeBytes(encoded)
		if n != len(encoded) || !isPlain(value) {
			return text, false
		}
		return append(append(append(text, '"'), value...), '"'), true
	case number == valueNumber && kind == protowire.Fixed64Type:
		bits, n := protowire.ConsumeFixed64(encoded)
		value := math.Float64frombits(bits)
		isWhole := value == math.Trunc(value) && math.Abs(value) <= largestWhole && bits != math.Float64bits(math.Copysign(0, -1))
		if n != len(encoded) || !isWhole {
			return text, false
		}
		return strconv.AppendInt(text, int64(value), 10), true
	case number == valueBool && kind == protowire.VarintType:
		value, n := protowire.ConsumeVarint(encoded)
		if n != len(encoded) {
			return text, false
		}
		return strconv.AppendBool(text, protowire.DecodeBool(value)), true
	}
	return text, false
}

// isPlain reports whether a text can stand in JSON without escapes.
func isPlain[T string | []byte](text T) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendString(text []byte, s string) ([]byte, error) {
	if isPlain(s) {
		return append(append(append(text, '"'), s...), '"'), nil
	}
	quoted, err := marshal(s)
	return append(text, quoted...), err
}

func metadataValue(entry *anypb.Any) (json.RawMessage, error) {
	if entry == nil {
		return nil, errors.New("entry is empty")
	}
	var value structpb.Value
	if err := entry.UnmarshalTo(&value); err != nil {
		return nil, err
	}
	return marshal(value.AsInterface())
}

// marshal is [json.Marshal] without its rewriting of <, > and &.
func marshal(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}
