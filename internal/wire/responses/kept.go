package responses

import (
	"cmp"
	"encoding/json"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// callKey is the key of what was kept of the answer with a call of the client's, answerKey that of an answer by its id,
// conversationKey that of the last answer in a conversation that the provider stores, and reasoningKey that of the answer with
// a reasoning, by its mark.
func callKey(callID, name string, at wire.Place) string {
	return wire.CallKey("responses", callID, name, at)
}
func answerKey(id string) string         { return wire.AnswerKey + id }
func conversationKey(id string) string   { return wire.ConversationKey + id }
func reasoningKey(content string) string { return "responses:reasoning " + content }

// ownKey is the callKey of a call whose place is not known. It reports false if only its place tells the call.
func ownKey(callID string) (string, bool) {
	key := callKey(callID, "", wire.Place{})
	return key, key == "responses:"+callID
}

// Kept implements [wire.Joint]. A client may go on with the answer by its id, or with its conversation, even if it was not
// asked for anything, or if the answer ended early: the provider then insists on the results of all calls. A client that
// sends the reasoning again needs the calls behind it: the API can refuse a reasoning without what followed.
func (j *joint) Kept() []wire.ToKeep {
	rounds := j.rounds()
	if len(j.before) > 0 && !j.now.isStored() {
		rounds = j.before // The provider knows nothing of the last one.
	}
	last := rounds[len(rounds)-1]
	turn := wire.KeptTurn{Checks: map[string]string{}, Last: memberString(last.id), Open: last.open()}
	conversation := wire.KeptTurn{Open: turn.Open}
	isKept, reasoning := len(rounds) > 1 || len(turn.Open) > 0, ""
	for n, round := range rounds {
		if !isKept || last.err() != nil {
			break
		}
		kept, marks := round.kept()
		turn.Rounds = append(turn.Rounds, kept)
		for _, mark := range marks {
			if mark.Kind == "reasoning" && mark.Content != "" {
				reasoning = mark.Content
			}
		}
		if n == len(rounds)-1 {
			conversation.Rounds = []wire.KeptRound{{Calls: kept.Calls, Results: kept.Results}}
		}
	}
	var keep wire.ToKeep
	said := sync.OnceValue(func() *wire.Said { return saidBy(j.rounds()) })
	for _, call := range j.now.clients() {
		if key, ok := j.keyOf(call); ok {
			if strings.HasSuffix(key, wire.PlaceMark) {
				turn.Said = said().Text()
			}
			keep.Keys = wire.AppendKeys(keep.Keys, key, said)
		}
		turn.Checks[call.id] = call.check
	}
	first := j.first.ids["id"]
	if len(j.before) == 0 {
		first = j.now.id
	}
	if id := memberString(first); id != "" {
		keep.Keys = append(keep.Keys, answerKey(id))
	}
	if isKept && reasoning != "" {
		keep.Keys = append(keep.Keys, reasoningKey(reasoning))
	}
	if isKept {
		turn.Shown = j.shown(rounds)
		keep.Turn = turn.Encode()
	}
	all := []wire.ToKeep{keep}
	if j.conversation != "" && last.isStored() {
		of := wire.ToKeep{Keys: []string{conversationKey(j.conversation)}}
		if len(turn.Open) > 0 {
			of.Turn = conversation.Encode()
		}
		all = append(all, of)
	}
	return all
}

// memberString returns the text of a JSON string, or "".
func memberString(raw []byte) string { return wire.Kept(wire.View(raw)) }

// isStored reports whether the provider may have stored the round's answer, and what it answers: it does once the answer
// has ended, or at once if it goes on with it in any case.
func (r *round) isStored() bool {
	return r.status == "completed" || r.status == "incomplete" || r.background
}

// open returns the ids of the round's calls of the gateway's tools.
func (r *round) open() (ids []string) {
	for _, item := range r.list() {
		if item.ours {
			ids = append(ids, item.callID)
		}
	}
	return ids
}

// kept returns what is kept of the round. What stands around the calls are the marks of the items that the client has seen.
func (r *round) kept() (kept wire.KeptRound, marks []mark) {
	for _, item := range r.list() {
		if !item.ours {
			marks = append(marks, markOf(item.value))
			continue
		}
		result := withoutResult(item.callID, r.withoutResults())
		if n := len(kept.Results); n < len(r.results) {
			result = r.results[n]
		}
		kept.Calls = append(kept.Calls, wire.KeptCall{At: len(marks), Call: item.raw})
		kept.Results = append(kept.Results, result)
	}
	kept.Seen = len(marks)
	kept.Around, _ = json.Marshal(marks) // Strings can always be encoded.
	return kept, marks
}

// withoutResults says why the calls of a round have no results yet. Those that somebody was told to run may be running, or have
// run, when another gateway reads it.
func (r *round) withoutResults() string {
	if r.handed {
		return wire.UnknownResult
	}
	return wire.NotRun
}

// withoutResult returns what stands in the place of a result, with the reason.
func withoutResult(callID, reason string) []byte {
	return writeResult(callID, wire.Result{IsError: true, Parts: []wire.Part{{Text: reason}}})
}

// clientCall is a call of a tool of the client's.
type clientCall struct{ id, name, check string }

// clients returns the calls that wait for the client's answer.
func (r *round) clients() []clientCall {
	if r.own != nil {
		return r.own
	}
	return clientCalls(r.list())
}

func clientCalls(items []outputItem) (calls []clientCall) {
	for _, item := range items {
		if isClients(item, items) {
			calls = append(calls, clientCall{strings.Clone(item.callID), strings.Clone(nameOf(item.value)), check(item.value)})
		}
	}
	return calls
}

// keyOf returns the key of a call of the client's. It reports false if only its place would tell the call, which has none in
// what the provider stores.
func (j *joint) keyOf(call clientCall) (string, bool) {
	if j.isChained {
		return ownKey(call.id)
	}
	return callKey(call.id, call.name, j.place), true
}

// nextPlace returns the place of what the model makes next, or has begun. An input that is a text is one item.
func nextPlace(body jsonedit.Object) wire.Place {
	text, _ := opening(body)
	text = strings.Clone(text)
	at := wire.Place{Opening: func() string { return text }, Index: 1}
	if input, _ := body.Get("input"); wire.View(input).Type != gjson.String {
		items := body.Elements("input")
		at.Index = items.Len()
		for at.Index > 0 && isModels(wire.View(items.At(at.Index-1))) {
			at.Index--
		}
	}
	return at
}

// chain implements [wire.Tooling].Chain.
func chain(body jsonedit.Object) (keys []string) {
	if id := memberText(body, "previous_response_id"); id != "" {
		keys = append(keys, answerKey(id))
	}
	if id := conversationOf(body); id != "" {
		keys = append(keys, conversationKey(id))
	}
	return keys
}

// conversationOf returns the id of the conversation that a request goes on with, or "".
func conversationOf(body jsonedit.Object) string {
	value, _ := body.Get("conversation")
	conversation := wire.View(value)
	if conversation.IsObject() {
		conversation = conversation.Get("id")
	}
	return wire.Kept(conversation)
}

// nameOf returns the name of the tool that a call is of.
func nameOf(call gjson.Result) string {
	return cmp.Or(wire.String(call.Get("name")), call.Get("type").Str)
}

// check returns a text that is the same for the same call.
func check(call gjson.Result) string {
	return wire.CallCheck(nameOf(call), input(call))
}

// mark tells an item that a client sends again, or refers to.
type mark struct {
	Kind    string `json:"kind"`
	Content string `json:"content"`      // A call's id, or a text that is the same for the same content.
	ID      string `json:"id,omitempty"` // The item's.
}

func markOf(item gjson.Result) mark {
	m := mark{Kind: item.Get("type").Str, ID: wire.String(item.Get("id"))}
	switch id := callIDOf(item); {
	case isCall(m.Kind) && id != "":
		m.Content = id
	case m.Kind == "reasoning":
		if secret := cmp.Or(wire.String(item.Get("encrypted_content")), m.ID); secret != "" {
			m.Content = wire.CallCheck("", secret)
		}
	case m.Kind == "" || m.Kind == "message":
		m.Kind = "message"
		m.Content = wire.CallCheck("", textOf(item))
	default:
		m.Content = wire.CallCheck("", input(item))
	}
	return m
}

// textOf returns the text of a message.
func textOf(message gjson.Result) string {
	if content := message.Get("content"); content.Type == gjson.String {
		return content.Str
	}
	return contentText(message)
}

// addTo adds what an item of the model's says.
func addTo(said *wire.Said, item gjson.Result) {
	switch kind := item.Get("type").Str; {
	case kind == "" || kind == "message":
		said.AddText(textOf(item))
	case isCall(kind) && callIDOf(item) != "":
		said.AddCall(nameOf(item), input(item))
	}
}

// saidFrom returns what the model says in the items from a position on that it made together.
func saidFrom(items jsonedit.Array, begin int) *wire.Said {
	var said wire.Said
	for i := begin; i < items.Len(); i++ {
		item := wire.View(items.At(i))
		if !isModels(item) {
			break
		}
		addTo(&said, item)
	}
	return &said
}

// saidBy returns what the client has seen of all rounds.
func saidBy(rounds []*round) *wire.Said {
	var said wire.Said
	for _, round := range rounds {
		for _, item := range round.list() {
			if !item.ours {
				addTo(&said, item.value)
			}
		}
	}
	return &said
}

// tells reports whether an item of a request is the marked one, or refers to it.
func (m mark) tells(sent mark) bool {
	if sent.Kind == "item_reference" {
		return sent.ID != "" && sent.ID == m.ID
	}
	return sent.Kind == m.Kind && sent.Content == m.Content
}

// marksOf returns the marks of all that the client has seen of a turn, or nil if these are not sound.
func marksOf(turn wire.KeptTurn) []mark {
	var marks []mark
	for _, round := range turn.Rounds {
		var some []mark
		if json.Unmarshal(round.Around, &some) != nil || len(some) != round.Seen {
			return nil
		}
		marks = append(marks, some...)
	}
	return marks
}

// keys implements [wire.Tooling].Keys. The calls that the client has answered last are in what the model made last. Where the
// client only refers to a call, or leaves it to the provider, its result has its id.
func keys(body jsonedit.Object, from int) []string {
	found := chain(body)
	isChained := len(found) > 0
	items, seen := body.Elements("input"), map[string]bool{}
	add := func(key string) {
		if !seen[key] {
			seen[key] = true
			found = append(found, key)
		}
	}
	begin := beginningOf(items, min(from, lastTurn(items)))
	called := map[string]bool{}
	at := wire.Place{Opening: openingOf(body), Index: begin}
	for i := begin; i < items.Len(); i++ {
		item := wire.View(items.At(i))
		id := callIDOf(item)
		if !isModels(item) {
			at.Index = i + 1
		}
		switch kind := item.Get("type").Str; {
		case isResult(item):
			if key, ok := ownKey(id); ok && !called[id] && !isChained {
				add(key)
			}
		case isCall(kind) && id != "":
			called[id] = true
			begun := at.Index
			for _, key := range wire.AppendKeys(nil, callKey(id, nameOf(item), at), func() *wire.Said { return saidFrom(items, begun) }) {
				add(key)
			}
		case kind == "reasoning":
			if mark := markOf(item); mark.Content != "" {
				add(reasoningKey(mark.Content))
			}
		}
	}
	return found
}

// lastTurn returns the position of the first of the items that the model made last.
func lastTurn(items jsonedit.Array) int {
	i := items.Len()
	for i > 0 && !isModels(wire.View(items.At(i-1))) {
		i--
	}
	return beginningOf(items, i)
}

// beginningOf returns the position of the first of the items that the model made together with the one before i.
func beginningOf(items jsonedit.Array, i int) int {
	for i > 0 && isModels(wire.View(items.At(i-1))) {
		i--
	}
	return i
}

// length implements [wire.Tooling].Length.
func length(body jsonedit.Object) (n int, last []byte) { return wire.Last(body.Elements("input")) }

// isResult reports whether an input item is the result of a call.
func isResult(item gjson.Result) bool {
	kind := item.Get("type").Str
	return strings.HasSuffix(kind, "_output") || kind == "mcp_approval_response"
}
