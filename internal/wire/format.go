// Package wire holds what the wire formats have in common: what a format reads of a request, and what it notes of the
// answer. The formats themselves are values of [Format], made in the packages below this one. The bridge does not
// distinguish them.
package wire

import (
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
)

// Format is one API's wire format.
type Format struct {
	// Name is the format's name in logs and spans.
	Name string
	// Inspect reads a request's body. It fails with an [*apierror.Error] of status 400 where the body cannot be a
	// request of this format; it ignores members that it does not know.
	Inspect func(body jsonedit.Object) (Request, error)
	// CacheTTL reads for how long a request asks the upstream to keep what it writes to its cache. Nil: the upstream's answers
	// tell it.
	CacheTTL func(body jsonedit.Object) string
	// Bounds reads what in a request's body bounds what the answer may cost. It never fails.
	Bounds func(body jsonedit.Object) Bounds
	// Track returns a tracker for one upstream answer, which has that form. What the tracker keeps of the answer's text
	// takes its memory from the share.
	Track func(Form, *memory.Share) Tracker
	// Figures is the table by which usage objects are read.
	Figures Table
	// Tooling uses tools of the gateway. Nil: requests of this format have none.
	Tooling *Tooling
	// Shape writes our errors in the form of this API's own errors.
	Shape apierror.Shape
	// Ping returns what says nothing but keeps the client of a stream, if it is sent behind that event: a real event where
	// clients do not count comments. Nil: streams of this format are not kept.
	Ping func(after sse.Event) []byte
}

// Form is the form of an answer. The same object can mean different things in each: within a stream, one that calls itself
// whole repeats what other events bring, and does not end the answer.
type Form int

// The forms.
const (
	Stream Form = iota // Events.
	Body               // One JSON value.
)

// Request is what a format reads of a request's body.
type Request struct {
	Model  string // Empty: the request names another thing that has one, such as a saved prompt.
	Stream bool

	// Prompt holds the texts of the last message that is not the system's, in their order, if that message is the
	// user's: what a person typed, and what the client put around it. Nil means that the message is not the user's.
	Prompt []string
	// PromptIsString says that the content of the message with the prompt is one string, not a list of parts.
	PromptIsString bool
	// Opening is the beginning of the user's first message, at most 256 bytes, if the message is short: some requests
	// that clients make for themselves are recognised by it.
	Opening string
	// BesideToolResults says that the message with the prompt carries tool results too.
	BesideToolResults bool
	// Generated says that clients make such requests for themselves, so nobody typed the prompt for it.
	Generated bool
	// ToolResultID is the call id of the last tool result in the last message, or empty.
	ToolResultID string

	// System is the beginning of the system prompt, at most 256 bytes: some clients are recognised only by it.
	System string
	// UserID is the body's metadata.user_id, which holds Claude Code's session, or empty.
	UserID string
	// CacheKey is the body's prompt_cache_key, or empty.
	CacheKey string

	// CacheTTL is what the format's function of that name has read.
	CacheTTL string
	// Background says that the upstream goes on with the answer even if the client leaves.
	Background bool

	// Edits are the changes to the body that make the answer report its usage. Most requests need none.
	Edits []jsonedit.Edit
	// Withhold reports whether an event of the answer comes only because of Edits and must not reach the client. Nil:
	// all events go to the client.
	Withhold func(sse.Event) bool
}

// Tracker reads along one upstream answer: the events of a stream, or the one event whose data is a JSON body.
// No method is safe for concurrent use.
type Tracker interface {
	// Observe notes what an event says. It does not use event after the call, and never fails: it counts events that it
	// cannot read in Answer.Unread.
	Observe(event sse.Event)
	// Ended reports whether the event came that ends a stream as it should. Later events mean nothing. It is cheap
	// enough to call after each event.
	Ended() bool
	// MayEnd reports whether the answer can end here, without that event or with an error in its place. It is as cheap
	// as Ended.
	MayEnd() bool
	// Answer returns what has been seen so far. The caller owns the result.
	Answer() Answer
}

// Answer is what a tracker has seen of one upstream answer.
type Answer struct {
	ID    string // The provider's id of the answer.
	Model string // The model that answered.
	// Usage is nil where none was reported.
	Usage     *Usage
	ToolCalls []ToolCall
	Thoughts  []Thought

	// Terminal says that the event which ends an answer of this format came. A JSON body that could be read is always
	// Terminal.
	Terminal bool
	// Complete says that the answer can be whole without that event, if the connection ended in good order. In a format
	// whose errors are not followed by that event, an answer with a Failure is complete.
	Complete bool
	// Background says that the upstream calls this the answer to a background request: it can be read later, too.
	Background bool
	// Unfinished says that the upstream goes on with this answer, though what was read ended in good order.
	Unfinished bool
	// Known says that an event, or the body, was one of this format, whether all of it was understood or not. A ping says
	// nothing of the format.
	Known bool
	// Failure is the error that the upstream reported within the answer, or empty.
	Failure Failure
	// Unread counts the events of which something could not be understood, or could not be kept in full. Events with
	// nothing but text are not checked closely.
	Unread int
}

// Failure is an error that an upstream reported in the body of an answer.
type Failure struct {
	Type    string // The provider's name for it, for example "overloaded_error".
	Code    string // The provider's code, where it has one beside the type.
	Message string
}

// Usage is the usage of an answer, with the same meaning in every format.
type Usage struct {
	Input      int64 // Without cached tokens.
	Output     int64
	CacheRead  int64
	CacheWrite int64
	// Extra holds kinds of tokens and of calls that have no field above, under the names of the records' metadata. Each
	// is included in a field above or counted apart. Only figures that the upstream reported are in it, and what
	// follows from them.
	Extra map[string]int64
	// Labels are texts that say at which price the answer is billed, for example service_tier, by their names.
	Labels map[string]string
	// Raw is the upstream's own usage object. Of several reports it has all members, each with the last value that is not
	// null. It is empty where that is more than 4 KiB, and then RawOmitted is set.
	Raw        string
	RawOmitted bool
	// Inconsistent says that the upstream's figures contradict each other: a part was larger than its whole, or the total
	// is not the sum.
	Inconsistent bool
	// Preliminary says that the figures are those of an answer that had not ended: later ones would have followed.
	Preliminary bool
}

// ToolCall is one call that the model made, as the answer reports it.
type ToolCall struct {
	ID     string // The call id, which a tool result refers to.
	ItemID string // The item's id, where the format has items.
	Name   string
	Input  string // The arguments' bytes as the model wrote them.
	// Origin says where the tool comes from, by the API's names: namespace, server_label, server_name. Nil: it does not say.
	Origin map[string]string
}

// Thought is one piece of reasoning that the model showed.
type Thought struct {
	Source   string // "thinking", "reasoning_summary" or "commentary".
	Content  string
	Redacted bool
}
