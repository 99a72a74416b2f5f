package testkit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/coder/aibridged/proto"
)

// RenderRecords returns records as one JSON object a line. It leaves out our ids and times, which differ from run to
// run, and the digests of bodies, which [CheckDigests] checks.
func RenderRecords(t testing.TB, records []*proto.Record) string {
	t.Helper()
	var lines strings.Builder
	for _, record := range records {
		fields := recordFields(t, record)
		for _, name := range []string{"id", "record_id", "interception_id", "started_at", "ended_at", "created_at", "request_bytes", "request_sha256", "response_bytes", "response_sha256", "first_byte_micros"} {
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

// CheckDigests fails the test unless the records of one interception have the size and the hash of request, and those
// of answer or of a beginning of answer.
func CheckDigests(t testing.TB, records []*proto.Record, request, answer []byte) {
	t.Helper()
	for _, record := range records {
		switch r := record.GetRecord().(type) {
		case *proto.Record_Interception:
			checkDigest(t, "request", r.Interception.GetRequestBytes(), r.Interception.GetRequestSha256(), request)
			if n := r.Interception.GetRequestBytes(); n != int64(len(request)) {
				t.Errorf("recorded a request of %d bytes, want %d", n, len(request))
			}
		case *proto.Record_InterceptionEnded:
			checkDigest(t, "response", r.InterceptionEnded.GetResponseBytes(), r.InterceptionEnded.GetResponseSha256(), answer)
		}
	}
}

func checkDigest(t testing.TB, name string, size int64, hash, body []byte) {
	t.Helper()
	if size > int64(len(body)) {
		t.Errorf("recorded a %s of %d bytes, want %d at most", name, size, len(body))
		return
	}
	want := sha256.Sum256(body[:size])
	if !bytes.Equal(hash, want[:]) && (size > 0 || hash != nil) {
		t.Errorf("recorded the hash %x of the %s's %d bytes, want %x", hash, name, size, want)
	}
}

// recordFields returns the fields of a record's message, and the kind of the message as "record".
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
