// Package clients describes, as data, the AI clients that a gateway serves: the marks by which a client is recognised,
// the places of its session ids, and the parts of a prompt that the client adds to what a person typed. It has no
// logic: package aibridge reads the table while it relays, and package rederive afterwards, each in its own way, so
// that each shows mistakes of the other.
//
//	for i := range clients.Known {
//		if client := &clients.Known[i]; strings.HasPrefix(system, client.System) { … }
//	}
package clients

// Unknown is the name of a client that no row of [Known] describes.
const Unknown = "Unknown"

// Client describes one client. Texts and tags are compared exactly, except where a field says "regardless of case".
type Client struct {
	// Name is the client's name in records.
	Name string

	// Any of these marks recognises the client. A system prompt counts more than a header, and a header more than a
	// user agent; of two clients with marks of the same kind, the first one in the table counts.

	// System is the beginning of its system prompt. Empty: its system prompt is no mark.
	System string
	// Headers are headers that only this client sends.
	Headers []HeaderMark
	// Agents are beginnings of its user agent, in lower case. They are compared regardless of case.
	Agents []string

	// Sessions are the places of its session id. The first place with an id counts; a blank id counts as none.
	Sessions []Session

	// Wrappers are the tags of the blocks, <tag>…</tag>, that it adds to what a person typed.
	Wrappers []string
	// Leading is the tag of a block that stands on a line of its own before what a person typed. Empty: there is no
	// such block.
	Leading string
	// FixedTexts are whole texts that it sends beside tool results, and FixedBeginnings are the beginnings of such
	// texts.
	FixedTexts      []string
	FixedBeginnings []string
	// Own are the beginnings of messages that it sends for its own purposes, for example to get a title.
	Own []string
}

// HeaderMark is a header whose value begins with Beginning, regardless of case. An empty Beginning fits any value that
// is not blank.
type HeaderMark struct {
	Name      string // In its canonical form.
	Beginning string // In lower case.
}

// Field is a field of a request's body.
type Field string

// The fields that hold ids of sessions.
const (
	CacheKey Field = "prompt_cache_key"
	UserID   Field = "metadata.user_id"
)

// Session is one place of a session's id: a header, or a field of the body. At most one of Prefix, Member and Marker is
// set; if none is, the id is the whole value.
type Session struct {
	// Header is the name of a header in its canonical form, or empty.
	Header string
	// Field is the field of the body, if Header is empty.
	Field Field

	// Prefix is the text before the id. A value without it has no id.
	Prefix string
	// Member names the member with the id: the value is a JSON object.
	Member string
	// Marker is the text before the id, at its last place in the value. A value that is JSON has no such id.
	Marker string
}
