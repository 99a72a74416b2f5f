package rederive_test

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/rederive"
)

// halfAsDerived returns the error type of an answer that is whole by its length and has this body.
func halfAsDerived(t *testing.T, body string) string {
	t.Helper()
	facts, err := rederive.Derive(rederive.Exchange{
		Format: rederive.FormatMessages, Request: []byte(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`), Status: 200,
		ResponseHeader: http.Header{"Content-Type": {"application/json"}}, Response: []byte(body), Whole: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return facts.ErrorType
}

// A body that is whole by its length is cut where it could go on, and else none of this API.
func TestHalfBodies(t *testing.T) {
	t.Parallel()
	const block = `{"type":"message","content":[{"type":"text","text":"hi"}`
	for body, want := range map[string]string{
		block:                            "truncated",
		block + `]`:                      "truncated",
		block + `],"usage":{"input`:      "truncated",
		block + `],"usage":NaN,"x":[1,]`: "truncated", // As only some writers write.
		block + `],"usage":-`:            "truncated",
		block + `],"usage":tru`:          "truncated",
		block + "\x01\n":                 "unknown",
		`{"a":"` + "\x01" + `b`:          "truncated",
		`{"a":"b\\"`:                     "truncated",
		`{"a":"b\\\"`:                    "truncated",
		block[:len(block)-1] + `]`:       "unknown", // The block has no end, and nothing could give it one.
		block[:len(block)-1] + `],"usage":{"input_tokens":1}`: "unknown",
		`{"id":"x"]}`:             "unknown",
		`[}`:                      "unknown",
		`{"a":undefined,"b":`:     "unknown",
		`{hello`:                  "unknown",
		"<html>":                  "unknown",
		strings.Repeat("[", 2000): "truncated",
		strings.Repeat("[", 900) + strings.Repeat("]", 899) + "}": "unknown",
	} {
		if got := halfAsDerived(t, body); got != want {
			t.Errorf("%.80q: %q, want %q", body, got, want)
		}
		var read jsonedit.Prefix
		read.Feed([]byte(body))
		if read.Cut() != (want == "truncated") {
			t.Errorf("%.80q: the gateway says that it is cut: %t", body, read.Cut())
		}
	}
}

// The gateway's reader and this one agree on any text: whether they do not is what verify is for, so it must not be in how they read.
func TestHalfBodiesAsTheGatewayReadsThem(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	parts := strings.Split(`{|}|[|]|{|[|,|:|"|"a"|\|1|-|e|.|true|tru|fal|null|NaN|Infinity|x| |`+"\n|\x01|\x80", "|")
	for range 30_000 {
		var text strings.Builder
		text.WriteString([]string{"{", "[", `"`, "{\"a\":", "x", ""}[random.IntN(6)])
		for range random.IntN(9) {
			text.WriteString(parts[random.IntN(len(parts))])
		}
		body := text.String()
		if strings.TrimSpace(body) == "" {
			continue
		}
		var read jsonedit.Prefix
		for rest := body; rest != ""; {
			n := 1 + random.IntN(len(rest))
			read.Feed([]byte(rest[:n]))
			rest = rest[n:]
		}
		if derived := halfAsDerived(t, body); (derived == "truncated") != read.Cut() {
			t.Fatalf("%q: derived %q, the gateway says that it is cut: %t", body, derived, read.Cut())
		}
	}
}
