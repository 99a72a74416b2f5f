package responses

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// round is what is noted of one round's answer.
type round struct {
	of     wire.Joined
	id     []byte // Of the response, as it is written.
	stored bool
	status string // That of the response, once the answer has ended.
	usage  map[string][]byte
	ours   bool         // A tool of the gateway was called.
	own    []clientCall // Of an answer that is no stream: its items may not be kept.
	// background says that the provider goes on with the answer in any case.
	background bool

	items  wire.TurnData // The output items that are done, as they came.
	places []int64       // Of these items.
	output []byte        // The response's output, if that has more.
	listed []outputItem  // These items in their order, once they were asked for.
	calls  calls
	body   []byte      // Of an answer that is no stream.
	held   []sse.Event // What ends the answer, and follows.
	failed error

	handed  bool     // The calls of the gateway's tools were handed out to be run.
	results [][]byte // Of these calls, as input items.
}

// calls tell the events of hidden calls from others.
type calls struct {
	byID    map[string]bool // Whether a function call is hidden, by its item's id.
	byPlace map[int64]bool  // The same of the last one at a place.
	last    bool            // The same of the last one.
}

func newRound(of wire.Joined) *round {
	return &round{
		of: of, items: wire.TurnData{Memory: of.Memory}, usage: map[string][]byte{},
		calls: calls{byID: map[string]bool{}, byPlace: map[int64]bool{}},
	}
}

// outputItem is an output item as it came.
type outputItem struct {
	raw    []byte
	value  gjson.Result
	kind   string
	callID string
	place  int64 // In the output; -1: it was not told.
	ours   bool  // It calls a tool of the gateway.
}

func readItem(raw []byte, of wire.Joined) outputItem {
	value := wire.View(raw)
	return outputItem{raw: raw, value: value, kind: value.Get("type").Str, callID: callIDOf(value), ours: isOurs(value, of)}
}

// readItems returns the items of an array.
func readItems(items jsonedit.Array, of wire.Joined) []outputItem {
	all := make([]outputItem, items.Len())
	for i := range all {
		all[i] = readItem(items.At(i), of)
	}
	return all
}

// callIDOf returns the id by which a result refers to a call. A request for an approval has none but its own.
func callIDOf(call gjson.Result) string {
	switch id := wire.String(call.Get("call_id")); call.Get("type").Str {
	case "function_call", "mcp_approval_request":
		return cmp.Or(id, wire.String(call.Get("id")))
	case "mcp_approval_response":
		return wire.String(call.Get("approval_request_id"))
	default:
		return id
	}
}

// isOurs reports whether an item calls a tool of the gateway. The name of a tool in a namespace says nothing without that.
func isOurs(value gjson.Result, of wire.Joined) bool {
	return value.Get("type").Str == "function_call" && wire.String(value.Get("namespace")) == "" &&
		of.IsOurs(wire.String(value.Get("name")))
}

func (j *joint) isOurCall(item []byte) bool { return isOurs(wire.View(item), j.of) }

// noteItem notes an item that begins or is done, and returns the fate of its event.
func (r *round) noteItem(event event) fate {
	raw, _ := event.object.Get("item")
	value := wire.View(raw)
	place, hasPlace := wholeMember(event.object, outputIndex)
	if !hasPlace {
		place = -1
	}
	if strings.HasSuffix(event.kind, ".done") && value.IsObject() {
		r.listed = nil
		r.items.Add(raw)
		r.places = append(r.places, place)
	}
	if value.Get("type").Str != "function_call" {
		return passed
	}
	ours := isOurs(value, r.of)
	if id := wire.Kept(value.Get("id")); id != "" {
		r.calls.byID[id] = ours
	}
	r.calls.byPlace[place], r.calls.last = ours, ours
	if !ours {
		return passed
	}
	r.ours = true
	return hidden
}

// hides reports whether an event belongs to a call that is hidden. Some servers give a call another id each time, others
// give all calls the same place.
func (r *round) hides(event event) bool {
	if ours, ok := r.calls.byID[memberText(event.object, "item_id")]; ok {
		return ours
	}
	if !strings.HasPrefix(event.kind, "response.function_call_arguments.") {
		return false
	}
	if name := memberText(event.object, "name"); name != "" {
		return r.of.IsOurs(name)
	}
	place, ok := wholeMember(event.object, outputIndex)
	if ours, known := r.calls.byPlace[place]; ok && known {
		return ours
	}
	return r.calls.last
}

// noteResponse notes what a response object says of the round.
func (r *round) noteResponse(response, beside jsonedit.Object) {
	if id, ok := response.Get("id"); ok {
		r.id = bytes.Clone(id)
	}
	if stored, ok := response.Get("store"); ok {
		r.stored = string(stored) == "true"
	}
	if background, ok := response.Get("background"); ok {
		r.background = string(background) == "true"
	}
	for _, name := range usageMembers() {
		for _, object := range [...]jsonedit.Object{beside, response} {
			if usage, ok := object.Get(name); ok && string(usage) != "null" {
				r.usage[name] = bytes.Clone(usage)
			}
		}
	}
}

// noteOutput keeps the output of a response object that has ended, if it may be needed and has more items than came.
func (r *round) noteOutput(response jsonedit.Object, isJoined bool, keep func([]byte) []byte) {
	output := response.Elements("output")
	for i := range output.Len() {
		r.ours = r.ours || isOurs(wire.View(output.At(i)), r.of)
	}
	if (isJoined || r.ours) && (output.Len() > len(r.places) || r.items.Err() != nil) {
		raw, _ := response.Get("output")
		r.output, r.listed = keep(raw), nil
	}
}

// list returns the output items in their order.
func (r *round) list() []outputItem {
	switch {
	case r.listed != nil:
	case r.output != nil:
		wire.View(r.output).ForEach(func(_, value gjson.Result) bool {
			r.listed = append(r.listed, readItem([]byte(value.Raw), r.of))
			return true
		})
	default:
		r.listed = r.done()
	}
	return r.listed
}

// done returns the items that are done in their order. An item that is reported again counts as it was reported last.
func (r *round) done() []outputItem {
	type name struct {
		kind, callID, id string
		place            int64
	}
	var all []outputItem
	n, at, places := 0, map[name]int{}, map[int64]bool{}
	for raw := range r.items.All() {
		next := readItem(raw, r.of)
		next.place = r.places[n]
		n++
		places[next.place] = true
		as := name{next.kind, next.callID, wire.String(next.value.Get("id")), next.place}
		if before, again := at[as]; again && as.callID+as.id != "" {
			all[before] = next
			continue
		}
		at[as] = len(all)
		all = append(all, next)
	}
	if len(places) == len(all) && !places[-1] { // Some servers give all items the same place.
		slices.SortStableFunc(all, func(a, b outputItem) int { return cmp.Compare(a.place, b.place) })
	}
	return all
}

// err returns why the round cannot be continued.
func (r *round) err() error {
	if r.output != nil {
		return r.failed
	}
	return cmp.Or(r.failed, r.items.Err())
}
