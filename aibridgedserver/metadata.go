package aibridgedserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"cdr.dev/slog/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// metadata returns a record's metadata as the JSON object that is stored. Entries that hold no JSON value are left
// out, with a warning.
func (s *Server) metadata(ctx context.Context, interception string, entries map[string]*anypb.Any) string {
	if len(entries) == 0 {
		return "{}"
	}
	object := make(map[string]json.RawMessage, len(entries))
	var failures []error
	for name, entry := range entries {
		value, err := metadataValue(entry)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		object[name] = value
	}
	// Names in ascending order, so that equal metadata is equal text.
	text, err := marshal(object)
	if err != nil {
		failures, text = append(failures, err), []byte("{}")
	}
	if failures != nil {
		s.logger.Warn(ctx, "record metadata cannot be read", slog.F("interception_id", interception),
			slog.F("failures", len(failures)), slog.Error(failures[0]))
	}
	return string(text)
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
