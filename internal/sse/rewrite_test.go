package sse_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/sse"
)

func TestAppendWithData(t *testing.T) {
	for name, test := range map[string]struct{ stream, data, want string }{
		"plain":             {"data: {}\n\n", "{1}", "data: {1}\n\n"},
		"no blank":          {"data:{}\n\n", "{1}", "data:{1}\n\n"},
		"with a type":       {"event: a\ndata: {}\nid: 7\n\n", "{1}", "event: a\ndata: {1}\nid: 7\n\n"},
		"CRLF":              {"event: a\r\ndata: {}\r\n\r\n", "{1}", "event: a\r\ndata: {1}\r\n\r\n"},
		"several lines":     {"data: {\ndata: }\n: c\n\n", "{1}", "data: {1}\n: c\n\n"},
		"into several":      {"data: {}\n\n", "{\n1}", "data: {\ndata: 1}\n\n"},
		"byte order mark":   {"\ufeffdata: {}\n\n", "{\n}", "\ufeffdata: {\ndata: }\n\n"},
		"a comment":         {": hello\n\n", "{1}", ": hello\n\n"},
		"no end":            {"data: {}", "{1}", "data: {1}"},
		"empty data":        {"data\n\n", "", "data\n\n"},
		"a field like data": {"data2: x\ndata: {}\n\n", "{1}", "data2: x\ndata: {1}\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var splitter sse.Splitter
			var got []byte
			for event := range splitter.Feed([]byte(test.stream)) {
				got = event.AppendWithData(got, []byte(test.data))
			}
			for event := range splitter.Flush() {
				got = event.AppendWithData(got, []byte(test.data))
			}
			if string(got) != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// FuzzAppendWithData gives each event its own data: a stream whose events have one line of data stays as it is, and every
// event keeps its type and data.
func FuzzAppendWithData(f *testing.F) {
	f.Add("\ufeffevent: a\r\ndata: {}\r\n\r\ndata: x\rdata: y\r\r\ndata: z\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		read := func(text []byte) (all []said, multi bool) {
			var splitter sse.Splitter
			note := func(event sse.Event) {
				if event.Data != nil {
					all = append(all, said{string(event.Type), string(event.Data), event.Type != nil, true})
				}
				multi = multi || bytes.IndexByte(event.Data, '\n') >= 0
			}
			for event := range splitter.Feed(text) {
				note(event)
			}
			for event := range splitter.Flush() {
				note(event)
			}
			return all, multi
		}
		var splitter sse.Splitter
		var got []byte
		for event := range splitter.Feed([]byte(stream)) {
			got = event.AppendWithData(got, bytes.Clone(event.Data))
		}
		for event := range splitter.Flush() {
			got = event.AppendWithData(got, bytes.Clone(event.Data))
		}
		want, multi := read([]byte(stream))
		if !multi && string(got) != stream && !strings.Contains(stream, "\r") {
			t.Fatalf("got %q of %q", got, stream)
		}
		if after, _ := read(got); !slices.Equal(after, want) {
			t.Fatalf("%q has %v, and %q has %v", stream, want, got, after)
		}
	})
}
