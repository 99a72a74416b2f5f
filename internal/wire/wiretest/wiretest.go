// Package wiretest is the suite that every wire format must pass. A format brings its exchanges as files, each of which
// says what its tracker must have seen at the end. The suite adds the rules for all formats: however the bytes are cut,
// wherever the stream ends, and whatever comes between its events.
//
//	func TestFormat(t *testing.T) {
//		wiretest.Run(t, wiretest.Suite{
//			Format:       messages.Format(),
//			Exchanges:    os.DirFS("testdata"),
//			Conversation: `"messages":[]`,
//			Call:         …,
//		})
//	}
package wiretest

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"reflect"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/coder/aibridged/internal/wire"
)

// Suite is what a format provides for the tests.
type Suite struct {
	Format wire.Format

	// Exchanges holds txtar files. The prose of each says the rule that it tests; its files are
	//
	//	stream.sse    a streamed answer. If it ends as it should, its last event is the one that ends it.
	//	body.json     the same answer as a JSON body, if there is one
	//	answer.json   the [wire.Answer] to both; without Usage.Raw, which differs, that is not compared
	//	request.json  the request, if that matters
	//	edited.json   the request with the format's edits, if it has any
	//	client.sse    what the client gets of the stream, if that is not all
	Exchanges fs.FS

	// Conversation holds the members that a request must have besides its model.
	Conversation string

	// Call returns the data of an event that makes the i-th call of a tool, whole, with input, a JSON object. Nil: the
	// format has no calls.
	Call func(i int, input string) string
}

// Run runs the suite.
func Run(t *testing.T, suite Suite) {
	for _, exchange := range exchanges(t, suite.Exchanges) {
		t.Run(exchange.name, func(t *testing.T) { runExchange(t, suite.Format, exchange) })
	}
	t.Run("unread", func(t *testing.T) { testUnread(t, suite.Format) })
	if suite.Call != nil {
		t.Run("bounds", func(t *testing.T) { testBounds(t, suite) })
	}
	t.Run("request", func(t *testing.T) { testRequests(t, suite) })
}

// exchange is one file of Suite.Exchanges. A file that it does not have is nil.
type exchange struct {
	name                    string
	stream, body            []byte
	request, edited, client []byte
	answer                  wire.Answer
}

func exchanges(t testing.TB, files fs.FS) []exchange {
	t.Helper()
	names, err := fs.Glob(files, "*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no exchanges: %v", err)
	}
	all := make([]exchange, len(names))
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = parseExchange(t, name, txtar.Parse(text))
	}
	return all
}

func parseExchange(t testing.TB, name string, archive *txtar.Archive) exchange {
	t.Helper()
	x := exchange{name: name}
	var answer []byte
	views := map[string]*[]byte{
		"stream.sse": &x.stream, "body.json": &x.body, "answer.json": &answer,
		"request.json": &x.request, "edited.json": &x.edited, "client.sse": &x.client,
	}
	for _, file := range archive.Files {
		view := views[file.Name]
		if view == nil {
			t.Fatalf("%s: unknown file %s", name, file.Name)
		}
		*view = file.Data
	}
	if len(bytes.TrimSpace(archive.Comment)) == 0 || x.stream == nil && x.body == nil {
		t.Fatalf("%s: it needs prose, and a stream or a body", name)
	}
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&x.answer); err != nil {
		t.Fatalf("%s: answer.json: %v", name, err)
	}
	return x
}

// sameAnswer fails the test if got is not want. It does not compare raw usage where want has none.
func sameAnswer(t testing.TB, got, want wire.Answer) {
	t.Helper()
	got.Known = want.Known // It has a test of its own.
	if got.Usage != nil && want.Usage != nil && want.Usage.Raw == "" {
		usage := *got.Usage
		usage.Raw = ""
		got.Usage = &usage
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got answer\n%s\nwant\n%s", indented(got), indented(want))
	}
}

func indented(v any) []byte {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return []byte(err.Error())
	}
	return text
}
