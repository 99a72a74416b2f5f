// Package clients is what is known of the AI clients that a gateway serves, as data: by what a client is recognised, where
// it says which session a request is of, and what of a prompt is its own and not the person's. It has no logic: package
// aibridge reads the table while it relays and package rederive after the fact, each in its own way, so that a mistake of
// one shows in the other.
//
//	for i := range clients.Known {
//		if client := &clients.Known[i]; strings.HasPrefix(system, client.System) { … }
//	}
package clients

// Unknown is the name of what no row of [Known] describes.
const Unknown = "Unknown"

// Client is what is known of one client. Texts and tags are compared as they are; where it says so, regardless of case.
type Client struct {
	// Name is what records call it.
	Name string

	// It is recognised by any of these marks. A system prompt tells more than a header, and a header more than a user
	// agent; of two clients with equally telling marks, it is the one that comes first in the table.

	// System is the beginning of its system prompt. Empty: that tells nothing.
	System string
	// Headers are headers that only this client sends.
	Headers []HeaderMark
	// Agents are beginnings of its user agent, in lower case, and compared regardless of case.
	Agents []string

	// Sessions are the places of its id of a session. The first of them that has one counts; a blank one is none.
	Sessions []Session

	// Wrappers are the tags of the blocks, <tag>…</tag>, that it puts around what a person typed.
	Wrappers []string
	// Leading is the tag of a block that is a line of its own before what a person typed. Empty: it has none.
	Leading string
	// FixedTexts are texts of its own, whole, that it sends beside the results of tools, and FixedBeginnings the
	// beginnings of others.
	FixedTexts      []string
	FixedBeginnings []string
	// Own are the beginnings of messages with which it talks to the model for itself.
	Own []string
}

// HeaderMark is a header whose value, regardless of case, begins so. An empty beginning fits any value that is not blank.
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

// Session is one place of a session's id: a header, or a field of the body. At most one of the last three fields is set;
// without any, the id is the whole value.
type Session struct {
	// Header is the name of a header in its canonical form, or empty.
	Header string
	// Field is the field where Header is empty.
	Field Field

	// Prefix is what stands before the id. A value without it has no id.
	Prefix string
	// Member is the member of the JSON object that the value holds.
	Member string
	// Marker is what the id follows, where it stands last in the value. A value that is JSON has no such id.
	Marker string
}
