package aibridge

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/contain"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/wire"
)

// toolUse is the use of the gateway's tools by one request. It belongs to the handler's goroutine.
type toolUse struct {
	limits ToolLimits
	set    *toolSet
	own    map[string]bool // See ownTools.
	joint  wire.Joint
	sum    uint64 // Of the conversation.
	keys   sessionKeys

	body    jsonedit.Object // The client's.
	share   *memory.Share
	names   []string        // Of the tools that are offered.
	offered []jsonedit.Edit // What offers them.
	rest    []jsonedit.Edit // What else tools change for the present round.
	refused int             // How many tools the provider did not take.

	head   *http.Response // That of the first answer, for one that is no stream.
	ready  []byte         // For the client.
	wrote  time.Time      // When the client was last sent something.
	turn   wire.Turn      // What the model wants after the last round.
	until  time.Time      // When all calls must have ended; zero: none has begun.
	tail   <-chan []byte  // What came behind the end of the last round's answer.
	cancel context.CancelFunc
	kept   bool // What the client has not seen of the answer.

	keeping sync.WaitGroup // What is being kept while tools run, or the provider answers.
}

// useTools returns the edits that offer the initiator's tools to the model, and that put the calls of earlier turns back
// into the conversation. If the model is offered tools, or something is put back that the provider insists on, x.tools is set.
func (x *relay) useTools(object jsonedit.Object) []jsonedit.Edit {
	format, tools := x.format.Tooling, x.bridge.options.Tools
	if format == nil || tools == nil {
		return nil
	}
	conversations := x.bridge.conversations
	opening, begins := format.Opening(object)
	session := x.recognised().session(x.request.Header, x.inspected)
	sum := conversations.sum(x.initiator, x.provider.name, x.format.Name, session, opening)
	var chain []string
	if format.Chain != nil {
		chain = format.Chain(object)
	}
	from := 0
	if len(chain) > 0 { // What it goes on with is not in the request.
		sum, begins = conversations.goingOn(sum, x.initiator, chain), false
	} else {
		from = conversations.from(sum, x.reach(object))
	}
	set := conversations.join(sum, begins, tools.Tools())
	keys := x.turnKeys(object, chain, from, len(set.tools) > 0)
	if len(set.tools) == 0 && len(chain) == 0 {
		return nil // Nothing of ours was called in it.
	}
	of := keysOfSession(session)
	restored, owed := x.restore(object, sum, of, keys, chain)
	use := &toolUse{
		limits: x.bridge.options.ToolLimits.withDefaults(), set: set, sum: sum, keys: of, own: ownTools(format, object), body: object,
		rest: restored, cancel: func() {},
	}
	x.tools = use
	if format.Free(object) {
		if capped := x.offer(); capped && set.warned.CompareAndSwap(false, true) {
			x.bridge.options.Logger.Warn(x.ctx, "there are more tools than a request may have: some are left out",
				slog.F("initiator_id", x.initiator), slog.F("tools", len(set.tools)), slog.F("limit", use.limits.Tools))
		}
	}
	// What was owed to the provider is over once it has an answer, which only the joint sees.
	if len(use.offered) == 0 && !owed || format.Join == nil {
		x.tools = nil
		return restored
	}
	use.share = x.provider.memory.Share()
	use.joint = format.Join(wire.Joined{
		Body: object, Request: &x.inspected, Restored: restored, Memory: use.share,
		IsOurs:    func(name string) bool { return set.isOurs(name, use.own) },
		MayBeOurs: mayBeOurs,
	})
	x.toolOf = use.toolOf
	return slices.Concat(use.offered, restored)
}

// reach returns how far a request goes in its conversation.
func (x *relay) reach(object jsonedit.Object) reach {
	n, last := x.format.Tooling.Length(object)
	return reach{messages: n, last: x.bridge.conversations.mark(last)}
}

// toolOf returns where the tool of the gateway with that name is, and whether there is one.
func (u *toolUse) toolOf(name string) (serverURL string, ours bool) {
	if tool := u.set.byName[name]; tool != nil {
		serverURL = tool.ServerURL
	}
	return serverURL, u.set.isOurs(name, u.own)
}

// ownTools returns those names of the client's tools that a tool of the gateway could have, too.
func ownTools(format *wire.Tooling, body jsonedit.Object) map[string]bool {
	var own map[string]bool
	elements := body.Elements("tools")
	for i := range elements.Len() {
		if name := format.Name(wire.View(elements.At(i))); strings.HasPrefix(name, toolPrefix) {
			if own == nil {
				own = map[string]bool{}
			}
			own[strings.Clone(name)] = true
		}
	}
	return own
}

// turnKeys returns the keys of what the client may not have seen of the conversation from a message on. In front are those of
// what it leaves to the provider, and these alone if the conversation has no tools.
func (x *relay) turnKeys(object jsonedit.Object, chain []string, from int, hasTools bool) []string {
	keys := chain
	if hasTools {
		keys = slices.Concat(keys, x.format.Tooling.Keys(object, from))
	}
	seen := make(map[string]bool, len(keys))
	keys = slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
		again := seen[key]
		seen[key] = true
		return again
	})
	return keys[:min(len(keys), mostTurnKeys)]
}

// restore returns the edits that put back what the client has not seen of the conversation, and whether the provider insists
// on some of it. If what was kept cannot be found, the conversation goes on without it.
func (x *relay) restore(object jsonedit.Object, sum uint64, of sessionKeys, keys, chain []string) (restored []jsonedit.Edit, owed bool) {
	kept, err := x.bridge.conversations.findStored(x.ctx, sum, x.initiator, x.provider.name, of.kept(keys))
	kept = of.found(kept)
	if err != nil {
		x.bridge.options.Logger.Warn(x.ctx, "turns of a conversation could not be looked up: it goes on without calls of the gateway's tools",
			slog.F("initiator_id", x.initiator), slog.Error(err))
	} else if len(chain) == 0 {
		x.bridge.conversations.reached(sum, x.reach(object))
	}
	if len(chain) > 0 { // The other turns of the conversation are at the provider.
		maps.DeleteFunc(kept, func(key string, _ []byte) bool { return !slices.Contains(keys, key) })
	}
	if len(kept) == 0 {
		return nil, false
	}
	restored = x.format.Tooling.Restore(object, kept)
	return restored, len(restored) > 0 && slices.ContainsFunc(chain, func(key string) bool { return len(kept[key]) > 0 })
}

// keep keeps what the client has not seen of an answer, once, if the client can go on with it. It is called before the client
// gets the end of the answer, since it may come back at once.
func (x *relay) keep() {
	if x.tools.kept {
		return
	}
	x.tools.kept = true
	x.tools.keeping.Wait() // What is kept later counts more.
	for _, keep := range x.tools.joint.Kept() {
		x.keepTurn(keep)
	}
}

func (x *relay) keepTurn(keep wire.ToKeep) {
	turn := KeptTurn{InitiatorID: x.initiator, Keys: x.tools.keys.kept(keep.Keys), Turn: x.withoutDoubt(keep)}
	err := contain.Call(func() error {
		ctx := context.WithoutCancel(x.ctx)
		common := x.bridge.conversations.keepCommon(ctx, x.provider.name, turn)
		return cmp.Or(x.bridge.conversations.keep(ctx, x.tools.sum, turn), common)
	})
	if err != nil {
		x.bridge.options.Logger.Warn(x.ctx, "what a client has not seen of a turn could not be kept: the conversation may go on without it",
			slog.F("interception_id", x.id), slog.Error(err))
	}
}

// withoutDoubt returns a turn that is to be kept, with a note if this process knows another turn by a key that only its place tells: of a
// client that leaves texts out, nobody could tell which of the two it means.
func (x *relay) withoutDoubt(keep wire.ToKeep) []byte {
	places := slices.DeleteFunc(slices.Clone(keep.Keys), func(key string) bool { return !wire.IsPlaceKey(key) })
	if len(places) == 0 || len(keep.Turn) == 0 {
		return keep.Turn
	}
	turn := keep.Turn
	for _, key := range x.tools.keys.kept(places) {
		if other := x.bridge.conversations.knownTurn(x.initiator, key); len(other) > 0 {
			turn = wire.SharedTurn(turn, other)
		}
	}
	return turn
}

// keepOpen keeps, while the calls of a turn are run, that they have no results yet, and then what these are while the provider gets
// them, if it has stored the calls and insists on results: the conversation can go on even if this process ends now.
func (x *relay) keepOpen() {
	chain := x.format.Tooling.Chain
	store, _ := x.tools.body.Get("store")
	if chain == nil || string(store) == "false" || !x.client.started && len(chain(x.tools.body)) == 0 {
		return // The provider stores nothing, or the client knows nothing to go on with.
	}
	for _, keep := range x.tools.joint.Kept() {
		if len(keep.Turn) > 0 {
			x.tools.keeping.Go(func() { x.keepTurn(keep) })
		}
	}
}

// rewrite makes the body that goes upstream next, with these edits for tools.
func (x *relay) rewrite(edits []jsonedit.Edit) error {
	next, err := edited(x.plainBody, slices.Concat(x.inspected.Edits, edits))
	if err != nil {
		return err
	}
	x.outgoing.release()
	x.outgoing, x.toolEdits = next, edits
	return nil
}

// closeTools frees what is held for the use of tools. An answer that nobody ended is kept, too: the client may have left.
func (x *relay) closeTools() {
	if x.tools != nil {
		x.keep()
		x.tools.share.Close()
		x.tools.cancel()
	}
}
