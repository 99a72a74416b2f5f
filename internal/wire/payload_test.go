package wire_test

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

func TestPayloads(t *testing.T) {
	tests := map[string]struct {
		event  sse.Event
		object string
		unread bool
	}{
		"object":        {sse.Event{Data: []byte("{}")}, "{}", false},
		"white space":   {sse.Event{Data: []byte("\n {\"a\": 1} \t")}, `{"a": 1}`, false},
		"comment":       {sse.Event{Raw: []byte(": hi\n\n")}, "", false},
		"blank":         {sse.Event{Data: []byte(" ")}, "", false},
		"done":          {sse.Event{Data: []byte("[DONE] ")}, "", false},
		"ping":          {sse.Event{Type: []byte("ping"), Data: []byte("soon")}, "", false},
		"array":         {sse.Event{Data: []byte("[]")}, "", true},
		"text":          {sse.Event{Data: []byte("hello")}, "", true},
		"cut object":    {sse.Event{Data: []byte(`{"a":"b`)}, "", true},
		"opening brace": {sse.Event{Data: []byte(`{`)}, "", true},
		"opaque":        {sse.Event{Raw: []byte("data: {}"), Opaque: true}, "", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var payloads wire.Payloads
			object, unread := payloads.Object(test.event)
			if string(object) != test.object || unread != test.unread {
				t.Errorf("got %q, %v, want %q, %v", object, unread, test.object, test.unread)
			}
		})
	}
}

func TestPiecesOfOneEventAreOneFault(t *testing.T) {
	var payloads wire.Payloads
	opaque, other := sse.Event{Opaque: true}, sse.Event{Data: []byte("{}")}
	var faults []bool
	for _, event := range []sse.Event{opaque, opaque, other, opaque, opaque} {
		_, unread := payloads.Object(event)
		faults = append(faults, unread)
	}
	for i, want := range []bool{true, false, false, true, false} {
		if faults[i] != want {
			t.Errorf("event %d is a fault: %v", i, faults[i])
		}
	}
}

func TestIsSound(t *testing.T) {
	for data, want := range map[string]bool{
		`{"a":[1,null,"\u00fc"]}`: true,
		`{"a":}`:                  false,
		`{"a":1} {}`:              false,
		`{"a":` + strings.Repeat("[", 511) + strings.Repeat("]", 511) + `}`: true,
		`{"a":` + strings.Repeat("[", 512) + strings.Repeat("]", 512) + `}`: false,
		strings.Repeat(`{"a":`, 1<<20):                                      false,
	} {
		if got := wire.IsSound([]byte(data)); got != want {
			t.Errorf("IsSound(%.40s) = %v", data, got)
		}
	}
}

func TestKind(t *testing.T) {
	line := sse.Event{Type: []byte("line")}
	for _, test := range []struct {
		event  sse.Event
		object string
		want   string
	}{
		{line, `{"type":"object"}`, "object"},
		{line, `{"x":{"type":"inner"}}`, "line"},
		{line, `{"type":null}`, "line"},
		{sse.Event{}, `{"x":1,"type":"object"}`, "object"},
		{sse.Event{}, `{}`, ""},
	} {
		if got := wire.Kind(test.event, wire.View([]byte(test.object))); got != test.want {
			t.Errorf("%s: got %q, want %q", test.object, got, test.want)
		}
	}
}
