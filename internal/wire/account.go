package wire

import (
	"bytes"
	"iter"

	"github.com/tidwall/gjson"
)

// This file finds in JSON texts what belongs to the account that a provider has made it for. It is alike in all formats.

// encryptedContent is the member whose value a provider has encrypted for one account.
const encryptedContent = `"encrypted_content"`

// EncryptedIn yields the values of all members named encrypted_content in a JSON text, at any depth, from the last one on. It
// leaves out values that are empty or no texts. A member within a quoted text does not count: its quotation marks are escaped.
func EncryptedIn(plain []byte) iter.Seq[[]byte] {
	return func(yield func(value []byte) bool) {
		for end := len(plain); ; {
			at := bytes.LastIndex(plain[:end], []byte(encryptedContent))
			if at < 0 {
				return
			}
			end = at
			rest := bytes.TrimLeft(plain[at+len(encryptedContent):], " \t\r\n")
			if len(rest) == 0 || rest[0] != ':' {
				continue
			}
			rest = bytes.TrimLeft(rest[1:], " \t\r\n")
			if value := textAt(rest); len(value) > 0 && !yield(value) {
				return
			}
		}
	}
}

// textAt returns the text that a JSON text begins with, or nil.
func textAt(json []byte) []byte {
	if len(json) == 0 || json[0] != '"' {
		return nil
	}
	end := bytes.IndexByte(json[1:], '"')
	if end < 0 {
		return nil
	}
	if value := json[1 : 1+end]; bytes.IndexByte(value, '\\') < 0 {
		return value
	}
	return []byte(gjson.ParseBytes(json).Str) // What is encrypted needs no escapes, but a client may write them.
}

// ItemReferences returns the ids of the items that the input of a Responses request names.
func ItemReferences(input []byte) []string {
	var ids []string
	gjson.ParseBytes(input).ForEach(func(_, item gjson.Result) bool {
		if id := item.Get("id").Str; id != "" && item.Get("type").Str == "item_reference" {
			ids = append(ids, id)
		}
		return true
	})
	return ids
}

// StoredIDs returns the ids, in an event or a whole answer, under which the provider may have stored something: the answer, and
// the thread that it belongs to.
func StoredIDs(data []byte) []string {
	var ids []string
	for _, id := range gjson.GetManyBytes(data, "id", "response.id", "message.id", "message.thread.id", "thread.id") {
		if id.Type == gjson.String && id.Str != "" {
			ids = append(ids, id.Str)
		}
	}
	return ids
}

// BeginningID returns the id of the object of which a JSON text is the beginning, or an empty string if it has not come.
func BeginningID(begun []byte) string {
	id := gjson.GetBytes(begun, "id")
	if id.Type != gjson.String || id.Index+len(id.Raw) >= len(begun) {
		return ""
	}
	return id.Str
}
