package chat_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
)

// TestRounds runs the files of testdata/rounds. The prose of each says the rule that it tests; its files are
//
//	request.json    the client's request, if it matters
//	N.sse, N.json   the answers of the rounds, from 1, streamed and as bodies
//	client.sse      what the client gets of the streams
//	client.json     what it gets of the bodies
//	next.json       the messages that the last round's request has behind the client's, one a line
//	later.json      what the client sends next, and
//	restored.json   what its upstream is sent
//
// If there are streams and bodies, the client and the upstream get the same of both.
func TestRounds(t *testing.T) {
	files, err := filepath.Glob("testdata/rounds/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no rounds", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			testRounds(t, txtar.Parse(text))
		})
	}
}

// views are the files of one test.
type views map[string]string

func (v views) answers(suffix string) []string {
	var all []string
	for n := '1'; v[string(n)+suffix] != ""; n++ {
		all = append(all, v[string(n)+suffix])
	}
	return all
}

func testRounds(t *testing.T, archive *txtar.Archive) {
	v := views{}
	for _, file := range archive.Files {
		v[file.Name] = string(file.Data)
		if strings.HasSuffix(file.Name, ".json") {
			v[file.Name] = strings.TrimSpace(v[file.Name])
		}
	}
	if len(bytes.TrimSpace(archive.Comment)) == 0 {
		t.Fatal("it needs prose")
	}
	streamed, blocking := exchange{t: t, request: v["request.json"]}, exchange{t: t, request: v["request.json"]}
	streams, bodies := v.answers(".sse"), v.answers(".json")
	if streams != nil {
		streamed.run(wire.Stream, streams...)
		same(t, "client.sse", string(streamed.client), v["client.sse"])
		if readStream(streamed.client).Damaged {
			t.Error("a client cannot read it")
		}
		v.check(t, streamed)
		testSplits(t, streamed, streams)
	}
	if bodies != nil {
		blocking.run(wire.Body, bodies...)
		same(t, "client.json", string(blocking.client), v["client.json"])
		v.check(t, blocking)
	}
	if streams != nil && bodies != nil {
		got := readStream(streamed.client)
		if got.Roles != 1 || got.Usages != 1 || got.Dones != 1 {
			t.Errorf("%d roles, %d usages and %d ends", got.Roles, got.Usages, got.Dones)
		}
		sameSeen(t, readStream(streamed.client), readBody(blocking.client))
	}
}

func (v views) check(t *testing.T, x exchange) {
	t.Helper()
	if next, has := v["next.json"]; has {
		same(t, "next.json", x.next(), strings.ReplaceAll(next, "\n", ","))
	}
	later, has := v["later.json"]
	if !has {
		return
	}
	format := chat.Format()
	kept := map[string][]byte{}
	for _, key := range x.kept.Keys {
		kept[key] = x.kept.Turn
	}
	body := parse(t, later)
	if asked := format.Tooling.Keys(body, 1<<20); !slices.ContainsFunc(asked, func(key string) bool { return kept[key] != nil }) {
		t.Errorf("%v is kept, %v is asked for", x.kept.Keys, asked)
	}
	for range 10 {
		restored, err := jsonedit.Splice([]byte(later), format.Tooling.Restore(body, kept)...)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "restored.json", string(restored), v["restored.json"])
		answered(t, restored)
	}
}

// testSplits feeds the streams byte by byte, with other line ends, and without their last line end.
func testSplits(t *testing.T, want exchange, streams []string) {
	t.Helper()
	for name, change := range map[string]func(string) string{
		"again":        func(s string) string { return s },
		"CRLF":         func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"CR":           func(s string) string { return strings.ReplaceAll(s, "\n", "\r") },
		"no end":       func(s string) string { return strings.TrimRight(s, "\n") },
		"marked":       func(s string) string { return "\ufeff" + s },
		"comments":     func(s string) string { return ": hi\n\n" + strings.ReplaceAll(s, "\n\n", "\n\n: hi\n\n") },
		"open comment": func(s string) string { return s + ": hi" },
	} {
		changed := make([]string, len(streams))
		for i, stream := range streams {
			changed[i] = change(stream)
		}
		for _, apart := range []bool{false, true} {
			x := exchange{t: t, request: want.request, apart: apart}
			x.run(wire.Stream, changed...)
			got := readStream(x.client)
			sameSeen(t, got, readStream(want.client))
			if got.Damaged || !reflect.DeepEqual(x.bodies, want.bodies) || !reflect.DeepEqual(x.kept, want.kept) {
				t.Errorf("%s, apart %t: the client gets\n%s\nthe upstream\n%s", name, apart, x.client, x.bodies)
			}
		}
	}
}
