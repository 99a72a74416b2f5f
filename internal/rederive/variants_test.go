package rederive_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/rederive"
	"github.com/coder/aibridged/internal/testkit"
)

// told is an answer of the project's cases, as its events or as a body.
type told struct {
	name   string
	format string
	stream bool
	events []any // What the data of each event says; [DONE] is a string. A body is the only one.
	names  []string
}

// toldAnswers returns the answers of the cases of what others really send.
func toldAnswers(t testing.TB) []told {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "cases", "wild", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var all []told
	for _, file := range files {
		c := testkit.LoadCase(t, file)
		format := formatOf(c.Request.Path())
		if c.Upstream == nil || format == "" || c.Upstream.Status() != http.StatusOK || c.Upstream.Header.Get("Content-Encoding") != "" {
			continue
		}
		one := told{name: filepath.Base(file), format: format, stream: c.Upstream.IsStream()}
		pieces := [][]byte{c.Upstream.Body}
		if one.stream {
			pieces = c.Upstream.Events()
		}
		for _, piece := range pieces {
			one.add(piece)
		}
		if one.stream || one.events[0] != nil {
			all = append(all, one)
		}
	}
	return all
}

func (o *told) add(piece []byte) {
	name, data := "", string(piece)
	if o.stream {
		data = ""
		for line := range strings.Lines(string(piece)) {
			if value, ok := strings.CutPrefix(line, "data: "); ok {
				data += value
			}
			if value, ok := strings.CutPrefix(line, "event: "); ok {
				name = strings.TrimSpace(value)
			}
		}
	}
	var value any
	decoder := json.NewDecoder(strings.NewReader(data))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil {
		value = strings.TrimSpace(data)
		if value == "" {
			return
		}
	}
	o.events, o.names = append(o.events, value), append(o.names, name)
}

// variant returns the answer with some changes: events are missing, repeated or in another order, and members are missing,
// have other names, or have values of others.
func (o told) variant(d dice, others []told) told {
	v := o
	v.events, v.names = nil, nil
	for i, event := range o.events {
		v.events, v.names = append(v.events, copied(event)), append(v.names, o.names[i])
	}
	for range d.upTo(2) {
		if len(v.events) < 2 {
			break
		}
		i, j := d.IntN(len(v.events)), d.IntN(len(v.events))
		switch d.IntN(4) {
		case 0:
			v.events[i], v.events[j], v.names[i], v.names[j] = v.events[j], v.events[i], v.names[j], v.names[i]
		case 1:
			v.events, v.names = slices.Delete(v.events, i, i+1), slices.Delete(v.names, i, i+1)
		case 2:
			v.events, v.names = slices.Insert(v.events, j, copied(v.events[i])), slices.Insert(v.names, j, v.names[i])
		default:
			other := pick(d, others...)
			if k := d.IntN(len(other.events)); other.format == v.format && other.stream {
				v.events, v.names = slices.Insert(v.events, j, copied(other.events[k])), slices.Insert(v.names, j, other.names[k])
			}
		}
	}
	for range d.upTo(3) {
		at := d.IntN(len(v.events))
		v.events[at] = d.changed(v.events[at], 0)
	}
	return v
}

func copied(value any) any {
	switch value := value.(type) {
	case map[string]any:
		all := make(map[string]any, len(value))
		for name, member := range value {
			all[name] = copied(member)
		}
		return all
	case []any:
		all := make([]any, len(value))
		for i, element := range value {
			all[i] = copied(element)
		}
		return all
	}
	return value
}

// changed returns a value with a change somewhere in it.
func (d dice) changed(value any, depth int) any {
	if depth > 0 && d.oneIn(4) {
		return d.strange()
	}
	switch value := value.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(value))
		if len(names) == 0 || d.oneIn(8) {
			value[d.member()] = d.strange()
			return value
		}
		name := pick(d, names...)
		switch {
		case d.oneIn(6):
			delete(value, name)
		case d.oneIn(6):
			value[d.member()] = copied(value[name])
		default:
			value[name] = d.changed(value[name], depth+1)
		}
	case []any:
		if len(value) == 0 || d.oneIn(6) {
			return append(value, d.strange())
		}
		i := d.IntN(len(value))
		if d.oneIn(4) {
			return append(value, copied(value[i]))
		}
		value[i] = d.changed(value[i], depth+1)
	default:
		return d.strange()
	}
	return value
}

func (d dice) strange() any {
	return pick[any](d,
		nil, "", "a", "Deep ", "water.", "{}", "{", `{"lake":`, `{"lake":"Co`, `{"lake":"Como"}`, "error", "stop", "message", "response", "in_progress",
		"chat.completion", "chat.completion.chunk", "thinking", "tool_use", "function_call", "reasoning", "find", "call_7", "toolu_7",
		true, json.Number("0"), json.Number("1"), json.Number("7"), json.Number("1.5"), json.Number("-1"), json.Number("2.0"),
		json.Number("500"), json.Number("1e30"), json.Number("9223372036854775807"), "9", "9223372036854775807", "1.5", []any{}, map[string]any{}, map[string]any{"message": "m"}, map[string]any{"text": "Deep "},
		[]any{map[string]any{"type": "thinking", "thinking": "Deep water.", "text": "water."}}, map[string]any{"input_tokens": json.Number("3")},
	)
}

func (d dice) member() string {
	return pick(d,
		"type", "id", "index", "object", "message", "delta", "content", "usage", "error", "status", "signature", "data", "text",
		"reasoning", "chain_of_thought", "reasoning_content", "reasoning_details", "thinking", "encrypted_content", "summary", "name", "input", "arguments",
		"total_tokens", "prompt_tokens", "cached_tokens", "reasoning_tokens", "input_tokens", "cache_read_input_tokens",
		"prompt_cache_miss_tokens", "iterations", "speed", "service_tier", "tool_usage", "x_groq", "namespace", "server_label", "phase",
		"prompt_tokens_details", "completion_tokens", "finish_reason", "function_call", "tool_calls", "response", "item", "item_id", "output_index", "content_index", "strange",
	)
}

// bytes returns the answer's body.
func (o told) bytes() []byte {
	var body bytes.Buffer
	for i, event := range o.events {
		data := fmt.Sprint(event)
		if _, isText := event.(string); !isText {
			var encoded bytes.Buffer
			encoder := json.NewEncoder(&encoded)
			encoder.SetEscapeHTML(false)
			_ = encoder.Encode(event)
			data = strings.TrimSpace(encoded.String())
		}
		if !o.stream {
			body.WriteString(data)
			continue
		}
		if o.names[i] != "" {
			fmt.Fprintf(&body, "event: %s\n", o.names[i])
		}
		fmt.Fprintf(&body, "data: %s\n\n", data)
	}
	return body.Bytes()
}

// play sends the answer through a gateway, and returns what is wrong with its bytes or records.
func (o told) play(t testing.TB, gateway *gateway, d dice) []string {
	body := map[string]string{
		rederive.FormatMessages:  `{"model":"m","stream":%t,"messages":[]}`,
		rederive.FormatChat:      `{"model":"m","stream":%t,"stream_options":{"include_usage":true},"messages":[]}`,
		rederive.FormatResponses: `{"model":"m","stream":%t}`,
	}[o.format]
	answer := upstream{
		status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: o.bytes(), whole: true, clientGone: -1,
		isStream: o.stream, chunk: 200,
	}
	if o.stream {
		answer.header.Set("Content-Type", "text/event-stream")
		answer.whole = !d.oneIn(4)
	}
	request := ask{header: http.Header{}, body: fmt.Sprintf(body, o.stream), stream: o.stream, hasUsage: true}
	return gateway.playPlain(t, o.format, request, answer).check(o.format)
}

// TestVariants changes what others really send: the records still equal what the second decoder derives from the bytes.
func TestVariants(t *testing.T) {
	const variants = 4000
	gateway, all := newGateway(t), toldAnswers(t)
	for seed := range uint64(variants) {
		checkVariant(t, gateway, all, seed)
	}
}

func checkVariant(t *testing.T, gateway *gateway, all []told, seed uint64) {
	d := newDice(seed)
	v := pick(d, all...).variant(d, all)
	if wrong := v.play(t, gateway, d); len(wrong) > 0 {
		t.Errorf("seed %d, of %s:\n\t%s\n%s", seed, v.name, strings.Join(wrong, "\n\t"), v.bytes())
	}
}

// FuzzVariants is TestVariants for any seed.
func FuzzVariants(f *testing.F) {
	gateway, all := newGateway(f), toldAnswers(f)
	f.Fuzz(func(t *testing.T, seed uint64) { checkVariant(t, gateway, all, seed) })
}
