package responses_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"golang.org/x/tools/txtar"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// Without a call of the gateway's tools, and without these tools, each event goes on as it came, and so does a body: there is
// nothing to be sent in its place.
func FuzzUntouched(f *testing.F) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		f.Fatalf("no exchanges: %v", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(text).Files {
			f.Add(file.Data)
		}
	}
	f.Add(answer{id: "resp_1", items: []string{reasoning(1), message(1), ourCall(1), theirCall(1)}}.stream())
	f.Fuzz(func(t *testing.T, stream []byte) {
		joined := wire.Joined{Body: parseBody(t, asked), IsOurs: func(string) bool { return false }}
		joint := tooling().Join(joined)
		joint.Begin(wire.Stream)
		var want, got []byte
		for _, event := range split(stream) {
			want = append(want, event.Raw...)
			if got = joint.Pass(got, event); !bytes.Equal(got, want) {
				t.Fatalf("after %q the client has\n%q\nwant\n%q", event.Raw, got, want)
			}
		}
		for _, keep := range joint.Kept() {
			if len(joint.Turn().Calls) > 0 || len(keep.Turn) > 0 {
				t.Fatal("there is a call")
			}
		}
		if got = joint.Finish(got); !bytes.Equal(got, want) {
			t.Fatalf("at the end the client has\n%q\nwant\n%q", got, want)
		}
		joint = tooling().Join(joined)
		joint.Begin(wire.Body)
		joint.Pass(nil, sse.Event{Data: stream})
		if got := joint.Finish(nil); len(got) > 0 {
			t.Fatalf("a body became %q", got)
		}
	})
}

// script makes answers of bytes, of which each says an item. A zero ends a round. Only the last one has no call of the
// gateway's, or has calls of the client's beside.
func script(said []byte) []answer {
	answers := []answer{{id: "resp_1"}}
	for n, b := range said {
		last := &answers[len(answers)-1]
		switch b % 8 {
		case 0:
			last.items = append(last.items, ourCall(1000+n))
			answers = append(answers, answer{id: fmt.Sprintf("resp_%d", len(answers)+1)})
			continue
		case 1:
			last.items = append(last.items, reasoning(n))
		case 2:
			last.items = append(last.items, `{"type":"reasoning","id":"rs_`+fmt.Sprint(n)+`","status":null,"content":[{"type":"reasoning_text","text":"x"}]}`)
		case 3:
			last.items = append(last.items, `{"type":"web_search_call","id":"ws_`+fmt.Sprint(n)+`","action":{}}`)
		case 4, 5:
			last.items = append(last.items, message(n))
		case 6:
			last.items = append(last.items, ourCall(n))
		case 7:
			last.usage = fmt.Sprintf(`{"input_tokens":%d}`, b)
		}
	}
	return answers
}

// The client never sees a tool of the gateway. What it gets is one answer, the same streamed and not streamed, and each
// request in between has a result for each call.
func FuzzRounds(f *testing.F) {
	f.Add([]byte{1, 6, 0, 4, 0, 1, 4, 7}, false)
	f.Add([]byte{2, 4, 6, 6, 0, 2, 6}, true)
	f.Fuzz(func(t *testing.T, said []byte, isMixed bool) {
		if len(said) > 40 {
			return
		}
		answers := script(said)
		last := &answers[len(answers)-1]
		if isMixed {
			last.items = append(last.items, theirCall(1), theirCall(2))
		} else {
			last.items = slices.DeleteFunc(last.items, func(item string) bool { return strings.Contains(item, "bmcp_") })
		}
		p := playBoth(t, asked, nil, answers...)
		var want []string
		for _, a := range answers {
			for _, item := range a.items {
				if !strings.Contains(item, "bmcp_") {
					want = append(want, item)
				}
			}
		}
		end := accumulate(t, p.client)
		sameJSON(t, gjson.Get(end, "output").Raw, "["+strings.Join(want, ",")+"]")
		for _, request := range p.requests {
			answered(t, request)
		}
		next := []string{user}
		if isMixed {
			next = []string{outputOf("their0123456789_1"), outputOf("their0123456789_2")}
		}
		sent := inputOf(slices.Concat([]string{user}, want, next)...)
		answered(t, restored(t, sent, p.kept()))
	})
}

// answered checks that each call of the gateway's in a request has one result, behind it.
func answered(t testing.TB, request string) {
	t.Helper()
	open := map[string]bool{}
	gjson.Get(request, "input").ForEach(func(_, item gjson.Result) bool {
		id := item.Get("call_id").Str
		if referred, ok := strings.CutPrefix(item.Get("id").Str, "fc_"); ok && id == "" && referred != "" && referred[0] <= '9' {
			open["our_"+referred] = true
		}
		switch kind := item.Get("type").Str; {
		case !strings.HasPrefix(id, "our_"):
		case kind == "function_call" && !open[id]:
			open[id] = true
		case kind == "function_call_output" && open[id]:
			delete(open, id)
		default:
			t.Fatalf("%s of %s: %s", kind, id, request)
		}
		return true
	})
	if len(open) > 0 {
		t.Fatalf("without a result: %v in %s", open, request)
	}
}

// Whatever a client makes of the items that it has seen, a request in which something was put back is one, and has all that
// the client sent, in its order. What was kept may be anything.
func FuzzRestore(f *testing.F) {
	p := rounds(f)
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, "", p.keep.Turn)
	f.Add([]byte{0, 4, 5, 6, 7, 0, 1, 4, 6}, "resp_1", []byte(`{"rounds":[{"seen":0}]}`))
	f.Add([]byte{6, 7}, "resp_1", p.keep.Turn)
	f.Add([]byte{0, 9, 8, 4, 10, 6}, "resp_2", []byte(`{}`))
	pool := []string{
		user, reasoning(1), message(1), reasoning(2), theirCall(1), theirCall(2), outputOf("their0123456789_1"), outputOf("their0123456789_2"),
		`7`, withoutID(theirCall(1)), `{"type":"function_call","call_id":"their0123456789_2","name":"other","arguments":"["}`,
		`{"type":"item_reference","id":"rs_1"}`, `{"type":"item_reference","id":"fc_c1"}`, `{"role":"assistant","content":"text 1"}`, theirCall(3), outputOf("their0123456789_3"),
	}
	f.Fuzz(func(t *testing.T, said []byte, previous string, other []byte) {
		var items []string
		for _, b := range said {
			items = append(items, pool[int(b)%len(pool)])
		}
		request := inputOf(items...)
		if previous != "" {
			quoted, _ := json.Marshal(previous)
			request = strings.Replace(request, `"tools":[]`, `"previous_response_id":`+string(quoted), 1)
		}
		for _, kept := range []map[string][]byte{p.kept(), {"responses:their0123456789_1": p.keep.Turn, "responses:their0123456789_2": other, "response:" + previous: other}} {
			got := restored(t, request, kept)
			var stays []string
			gjson.Get(got, "input").ForEach(func(_, item gjson.Result) bool {
				if len(stays) < len(items) && item.Raw == items[len(stays)] {
					stays = append(stays, item.Raw)
				}
				return true
			})
			if len(stays) < len(items) {
				t.Fatalf("%s became %s", request, got)
			}
			if previous == "" {
				answered(t, got)
			}
		}
	})
}
