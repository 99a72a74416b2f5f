package responses_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/responses"
)

// A stored response is shown as its client has seen it, whatever was called in it.
func FuzzShown(f *testing.F) {
	f.Add([]byte{1, 6, 0, 4, 0, 1, 4, 7}, []byte(nil))
	f.Add([]byte{6, 4}, []byte(`{"last":"x","shown":{"output":"W10="}}`))
	f.Fuzz(func(t *testing.T, said, turn []byte) {
		if len(said) > 40 {
			return
		}
		answers := script(said)
		for n := range answers {
			answers[n].usage = `{"input_tokens":1}`
		}
		last := &answers[len(answers)-1]
		last.items = append(last.items, theirCall(1))
		p := playBoth(t, asked, nil, answers...)
		if len(p.keep.Turn) > 0 {
			joint := responses.Shown(p.keep.Turn, wire.Joined{IsOurs: isOurs})
			joint.Begin(wire.Body)
			joint.Pass(nil, sse.Event{Data: last.body()})
			sameJSON(t, string(joint.Finish(nil)), accumulate(t, p.client))
		}
		// Anything may have been kept.
		joint := responses.Shown(turn, wire.Joined{IsOurs: isOurs})
		if joint == nil {
			return
		}
		for _, form := range []wire.Form{wire.Stream, wire.Body} {
			joint.Begin(form)
			var shown []byte
			events := []sse.Event{{Data: last.body()}}
			if form == wire.Stream {
				events = split(last.stream())
			}
			for _, event := range events {
				shown = joint.Pass(shown, event)
			}
			shown = joint.Finish(shown)
			if bytes.Contains(shown, []byte("bmcp_")) && !bytes.Contains(turn, []byte("shown")) {
				t.Fatalf("the client sees %s", shown)
			}
			for _, event := range split(shown) {
				if form == wire.Stream && !json.Valid(event.Data) {
					t.Fatalf("no JSON: %s", event.Raw)
				}
			}
		}
	})
}

// What was shown of earlier rounds is kept up to a limit. Beyond it, the last round's items are shown alone.
func TestShownIsBounded(t *testing.T) {
	large := strings.Replace(message(1), "text 1", strings.Repeat("x", 300<<10), 1)
	last := answer{id: "resp_2", items: []string{message(2), theirCall(1)}}
	p := playBoth(t, asked, nil, answer{id: "resp_1", items: []string{message(3), large, ourCall(1)}}, last)
	if n := len(p.keep.Turn); n > 10<<10 {
		t.Errorf("kept %d bytes", n)
	}
	joint := responses.Shown(p.keep.Turn, wire.Joined{IsOurs: isOurs})
	joint.Begin(wire.Body)
	joint.Pass(nil, sse.Event{Data: last.body()})
	if got := ids(gjson.GetBytes(joint.Finish(nil), "output")); got != "message msg_3 assistant, message msg_2 assistant, function_call fc_c1 their0123456789_1" {
		t.Errorf("the client gets %s", got)
	}
}
