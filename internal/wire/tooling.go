package wire

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
)

// Tool is a tool of the gateway, as models are told of it.
type Tool struct {
	Name        string
	Description string
	Schema      []byte // The JSON Schema of its input, an object.
}

// Tooling is what a format does with tools of the gateway. Its functions keep nothing of a body, but for what Join
// returns, and are safe for concurrent use.
type Tooling struct {
	// Write returns a tool as an element of a request's tools, or nil if the format cannot have it.
	Write func(Tool) []byte
	// First says that tools of the gateway stand before the client's, and not behind them.
	First bool
	// Free reports whether tools may be offered beside the client's: the model is free to choose among tools, and a call
	// would break nothing that the request asks for.
	Free func(jsonedit.Object) bool
	// Name returns the name by which the model calls one of the client's tools, or "".
	Name func(tool gjson.Result) string
	// Opening returns the text of the user's first message, by which a conversation is recognised, and whether the
	// conversation begins with this request: it has no message of the model's.
	Opening func(jsonedit.Object) (text string, begins bool)
	// Length returns how many messages a request has, or input items, and the last one.
	Length func(body jsonedit.Object) (n int, last []byte)
	// Keys returns the keys under which something may have been kept that the request lacks: see [ToKeep]. They are those of
	// its messages from one on, and those of the tool results that came last.
	Keys func(body jsonedit.Object, from int) []string
	// Chain returns those of the keys that name what the provider has stored and the request goes on with: the provider may
	// refuse it without what was kept. Nil: there is no such thing.
	Chain func(body jsonedit.Object) []string
	// Restore returns the edits that put what was kept, by its keys, back into a request. What is malformed, or was kept of
	// another call with the same id, is ignored.
	Restore func(body jsonedit.Object, kept map[string][]byte) []jsonedit.Edit
	// Join returns the joint for a request. Nil: answers of this format call nothing.
	Join func(Joined) Joint
}

// Joined is what a joint needs to know of its request.
type Joined struct {
	// Body is the client's body. It stays as it is until the last call of Continue.
	Body     jsonedit.Object
	Request  *Request
	Restored []jsonedit.Edit // What Restore returned for the body.
	// IsOurs reports whether a call of the tool with that name is the gateway's to answer.
	IsOurs func(name string) bool
	// MayBeOurs reports whether a tool of the gateway has a name that begins so: some servers send names in pieces. Nil: no
	// server does.
	MayBeOurs func(beginning string) bool
	// Memory is what the joint takes the memory for what it keeps of the answers from.
	Memory *memory.Share
}

// Joint makes the one answer that a client sees of the answers of several rounds, in which the model may call tools of the
// gateway. The client sees nothing of these calls: what it gets has the ids of the first answer, contiguous places and
// numbers, and the sum of the usage. It belongs to one request and is not safe for concurrent use.
//
//	for {
//		joint.Begin(wire.Stream)
//		for event := range events {
//			ready = joint.Pass(ready, event)
//		}
//		if turn := joint.Turn(); len(turn.Calls) == 0 || … {
//			break
//		}
//		edits, err := joint.Continue(results)
//	}
//	ready = joint.Finish(ready)
type Joint interface {
	// Begin begins a round, whose answer has that form. All rounds have the same.
	Begin(Form)
	// Pass takes the next event of the answer and appends to ready what goes to the client now: mostly the event as it
	// came. Calls of the gateway's tools are left out. What ends the answer is held, with all that follows, if the model has
	// called such a tool in this round. An answer that is no stream is one event whose data is the body: all of it is held.
	// Pass keeps nothing of event. It never fails.
	Pass(ready []byte, event sse.Event) []byte
	// Turn returns what the model wants of the gateway. It is called once the answer has ended in good order. The
	// caller owns the result.
	Turn() Turn
	// Continue takes the results of the turn's calls, in their order. It returns the edits that make the next round's
	// request of the client's body, beside those that offer tools and ask for usage: the turn as it came, and its results,
	// and the same of the rounds before. It takes the place of Restored. An error says that the turn could not be kept.
	Continue([]Result) ([]jsonedit.Edit, error)
	// Close takes the results of the calls of a turn that has calls of the client's, too.
	Close([]Result)
	// Kept returns what must be kept of an answer that has ended, in whatever way. Its keys are there even if there is nothing
	// to be kept: nobody need be asked for them then, and what was kept under them before is over.
	Kept() []ToKeep
	// Finish appends what was held, as the end of the answer: the body, if the answers are no streams. It appends nothing if the
	// body is as it came, which may stand between white space, and in a content coding. One that is no answer, but an error, is.
	Finish(ready []byte) []byte
	// Fail appends the event that ends a stream with an error.
	Fail(ready []byte, failure Failure) []byte
	// Ping appends an event that says nothing but keeps the client's connection.
	Ping(ready []byte) []byte
}

// Turn is what one round's answer wants of the gateway.
type Turn struct {
	// Calls are the calls of the gateway's tools that are to be run, in the order in which the model made them. There are
	// none if the answer was cut within a call or ended for another reason.
	Calls []ToolCall
	// Mixed says that the turn has calls of the client's, too: the client gets these, and goes on with the conversation.
	Mixed bool
	// Cut says that a call of the gateway's tools has no end, though the answer has ended as if the call had been made: then there
	// are no calls. The client must not take what it got for the whole answer.
	Cut bool
}

// Result is what a tool of the gateway answered.
type Result struct {
	Parts   []Part
	IsError bool
}

// Part is a text, or an image.
type Part struct {
	Text      string
	MediaType string // Of the image; empty: the part is a text.
	Data      []byte
}

// ToKeep is what puts the gateway's calls back into a conversation whose client has not seen them. It is found by any of its
// keys, which come from the ids of the client's own calls, or of the answer, or from its last thought.
type ToKeep struct {
	Keys []string
	Turn []byte
}
