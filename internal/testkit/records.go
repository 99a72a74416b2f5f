package testkit

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/coder/aibridged/proto"
)

// RenderRecords returns records as one JSON object a line, less what differs from run to run: ids of ours and times.
func RenderRecords(t testing.TB, records []*proto.Record) string {
	t.Helper()
	var lines strings.Builder
	for _, record := range records {
		fields := recordFields(t, record)
		for _, name := range []string{"id", "record_id", "interception_id", "started_at", "ended_at", "created_at"} {
			delete(fields, name)
		}
		if metadata, ok := fields["metadata"].(map[string]any); ok {
			for name, value := range metadata {
				metadata[name] = value.(map[string]any)["value"]
			}
		}
		line, err := json.Marshal(fields)
		if err != nil {
			t.Fatalf("marshal record: %v", err)
		}
		lines.Write(line)
		lines.WriteByte('\n')
	}
	return lines.String()
}

// recordFields returns the fields of the record that is set, and its kind as "record".
func recordFields(t testing.TB, record *proto.Record) map[string]any {
	t.Helper()
	var set protoreflect.FieldDescriptor
	record.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		set = field
		return false
	})
	if set == nil {
		t.Fatal("a record of no kind")
	}
	encoded, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(record.ProtoReflect().Get(set).Message().Interface())
	if err != nil {
		t.Fatalf("marshal record: %v", err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(encoded, &fields); err != nil {
		t.Fatalf("unmarshal record: %v", err)
	}
	fields["record"] = string(set.Name())
	return fields
}

// CheckPairs fails the test unless every interception has one start, one end, and nothing after its end or before its
// start.
func CheckPairs(t testing.TB, records []*proto.Record) {
	t.Helper()
	state := map[string]string{}
	for _, record := range records {
		fields := recordFields(t, record)
		id, _ := fields["interception_id"].(string)
		if id == "" {
			id, _ = fields["id"].(string)
		}
		switch kind := fields["record"]; {
		case kind == "interception" && state[id] == "":
			state[id] = "started"
		case kind == "interception_ended" && state[id] == "started":
			state[id] = "ended"
		case kind != "interception" && kind != "interception_ended" && state[id] == "started":
		default:
			t.Errorf("interception %s: %v while %q", id, kind, state[id])
		}
	}
	for id, s := range state {
		if s != "ended" {
			t.Errorf("interception %s has no end", id)
		}
	}
}
