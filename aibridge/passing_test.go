package aibridge

import (
	"bytes"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/sse"
)

// isOurs withholds the events that say "ours".
func isOurs(event sse.Event) bool {
	return string(event.Data) == "ours" || string(event.Data) == "{our\ns}"
}

// through passes a stream in pieces of a size, and returns what the client gets, and what it has got after each piece.
func through(stream string, size int) (whole string, after []string) {
	pass := passing{withhold: isOurs}
	var got bytes.Buffer
	for len(stream) > 0 {
		n := min(size, len(stream))
		pass.add([]byte(stream[:n]))
		got.Write(pass.take())
		after = append(after, got.String())
		stream = stream[n:]
	}
	pass.finish()
	got.Write(pass.take())
	return got.String(), after
}

// TestPassing is about streams of all kinds, in pieces of all sizes: an event of ours is withheld with all of its lines,
// and nothing else.
func TestPassing(t *testing.T) {
	long := "data: " + strings.Repeat("x", mostLine+100)
	for stream, want := range map[string]string{
		"data: a\n\ndata: ours\n\ndata: b\n\n":                                   "data: a\n\ndata: b\n\n",
		"data: a\r\n\r\ndata: ours\r\n\r\ndata: b\r\n\r\n":                       "data: a\r\n\r\ndata: b\r\n\r\n",
		"data: a\r\rdata: ours\r\rdata: b\r\r":                                   "data: a\r\rdata: b\r\r",
		"data:ours\n\ndata:a\n\n":                                                "data:a\n\n",
		"\ufeffdata: ours\n\ndata: a\n\n":                                        "data: a\n\n",
		"\ufeffdata: a\n\ndata: ours\n\n":                                        "\ufeffdata: a\n\n",
		"event: e\nid: 1\ndata: ours\n\nid: 2\ndata: a\n\n":                      "id: 2\ndata: a\n\n",
		"event: e\r\nid: 1\r\ndata: ours\r\n\r\nid: 2\r\ndata: a\r\n\r\n":        "id: 2\r\ndata: a\r\n\r\n",
		"data: ours\nid: 1\nretry: 5\n\ndata: a\n\n":                             "data: a\n\n",
		": ping\n: ping\n\ndata: ours\n\n: ping\ndata: a\n\n":                    ": ping\n: ping\n\n: ping\ndata: a\n\n",
		"data: a\ndata: ours\ndata: b\ndata: [DONE]\n":                           "data: a\ndata: b\ndata: [DONE]\n",
		"data: a\n\ndata: ours":                                                  "data: a\n\n",
		"event: e\n: c\ndata: ours\n\ndata: a\n\n":                               "data: a\n\n",
		"data: a\n\nid: 5":                                                       "data: a\n\nid: 5",
		"data: a\n\nevent: e\nid: 5\n":                                           "data: a\n\nevent: e\nid: 5\n",
		"\n\n\ndata: ours\n\n\n\n":                                               "\n\n\n\n\n",
		long + "\n\ndata: ours\n\n" + long + "\n\n":                              long + "\n\n" + long + "\n\n",
		"id: 1\n" + long + "\r\n\r\ndata: ours\r\n\r\n":                          "id: 1\n" + long + "\r\n\r\n",
		"data: {\ndata: ours\n\n":                                                "data: {\ndata: ours\n\n",
		"id: 1\ndata: {our\ndata: s}\n\ndata: a\n\n":                             "data: a\n\n",
		"data: {our\n\ndata: s}\n\n":                                             "data: {our\n\ndata: s}\n\n",
		"no stream at all":                                                       "no stream at all",
		"<html>\n<body>\n\n</html>\n":                                            "<html>\n<body>\n\n</html>\n",
		"dataours\ndatum: ours\n\n":                                              "dataours\ndatum: ours\n\n",
		strings.Repeat("id: "+strings.Repeat("1", 1000)+"\n", 100) + "data: a\n": strings.Repeat("id: "+strings.Repeat("1", 1000)+"\n", 100) + "data: a\n",
	} {
		for size := 1; size <= len(stream) && size < 70; size++ {
			if len(stream) > 1000 && size%13 != 1 {
				continue
			}
			if got, _ := through(stream, size); got != want {
				t.Errorf("pieces of %d bytes of %.60q: %.200q", size, stream, got)
			}
		}
		if got, _ := through(stream, len(stream)); got != want {
			t.Errorf("%.60q at once: %.200q", stream, got)
		}
	}
}

// TestPassingInTime is about lines that are whole: they go on with the piece that ends them, whether a blank line follows
// or not.
func TestPassingInTime(t *testing.T) {
	for _, lines := range [][]string{
		{"data: a\n", "\n", "data: b\n", "\n"},
		{"data: a\n", "data: b\n", "data: c\n"},
		{": ping\n", ": ping\n", "data: a\n"},
		{"data: a\r\n", "\r\n", ": ping\r\n", "data: b\r\n"},
		{"event: e\ndata: a\n", "\n", "event: f\ndata: b\n"},
		{"{\"a\":1}\n", "{\"a\":2}\n"},
	} {
		pass := passing{withhold: isOurs}
		for _, line := range lines {
			pass.add([]byte(line))
			if got := string(pass.take()); got != line {
				t.Errorf("%q of %q: the client gets %q", line, lines, got)
			}
		}
	}
}

// FuzzPassing checks that a stream of which nothing is withheld passes unchanged in any pieces, and that one with events
// of ours gives the same whatever the pieces are.
func FuzzPassing(f *testing.F) {
	f.Add("data: a\r\n\r\ndata: ours\n\nid: 1\rdata: b\n\n", 3)
	f.Add("\ufeff: x\n\ndata: ours\rdata: a\r\n", 1)
	f.Fuzz(func(t *testing.T, stream string, size int) {
		if size < 1 || size > len(stream) {
			return
		}
		whole, _ := through(stream, len(stream))
		pieces, after := through(stream, size)
		if pieces != whole {
			t.Fatalf("%q in pieces of %d, %q at once", pieces, size, whole)
		}
		if !strings.Contains(stream, "ours") && whole != stream {
			t.Fatalf("%q became %q", stream, whole)
		}
		for _, got := range after {
			if !strings.HasPrefix(whole, got) {
				t.Fatalf("%q is no beginning of %q", got, whole)
			}
		}
	})
}
