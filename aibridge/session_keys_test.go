package aibridge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
)

// TestSessionsThatBeginAlike has two sessions of a user with the same words, whose server numbers its calls: each gets the result
// of its own call back, from the gateway that made it and from another one. Calls with ids of their own need no session.
func TestSessionsThatBeginAlike(t *testing.T) {
	for name, talk := range talks() {
		for _, isCounted := range []bool{true, false} {
			for _, others := range []bool{false, true} {
				counted := func(text string) string {
					if isCounted {
						text = strings.NewReplacer("call_0123456789abcdefgh_", "call_", "call_hgfedcba9876543210_", "other_").Replace(text)
					}
					return text
				}
				up := &answers{all: []string{counted(talk.answer(0)), counted(talk.answer(0)), counted(talk.answer(1)), counted(talk.answer(1))}}
				if !isCounted { // They are other calls then.
					up.all[1] = talk.answer(7)
				}
				shared := &store{turns: map[string][]byte{}}
				gateway := aibridge.NewConversations(shared)
				ask := talk.asking(t, up, func(n int) string { return fmt.Sprint("result ", n) })
				session := func(i int) string {
					if isCounted {
						return fmt.Sprint("session-", i)
					}
					return ""
				}
				var histories [2][]string
				for i := range histories {
					n := i * 7
					if isCounted {
						n = 0
					}
					answer := ask(gateway, session(i), talk.body(nil))
					for _, part := range talk.goOn(answer, n) {
						histories[i] = append(histories[i], counted(part))
					}
				}
				if others {
					gateway = aibridge.NewConversations(shared)
				}
				for i, history := range histories {
					ask(gateway, session(i), talk.body(history))
					sent := up.requests()
					last := sent[len(sent)-1]
					if own, other := fmt.Sprint("result ", i+1), fmt.Sprint("result ", 2-i); !strings.Contains(last, own) || strings.Contains(last, other) {
						t.Errorf("%s, counted %v, other gateway %v: session %d sent %s", name, isCounted, others, i, last)
					}
				}
			}
		}
	}
}

// TestConversationsThatBeginAlike has two conversations of a user whose client tells no session and begins both with the same words, and
// whose server numbers its calls: what the model says tells them apart, or what it calls the client's tool with, from the gateway that
// made the turns and from another one. A client that sends the turn back with another text, or without it where the texts alone would tell, goes on without our part.
func TestConversationsThatBeginAlike(t *testing.T) {
	counted := strings.NewReplacer("call_0123456789abcdefgh_", "call_", "call_hgfedcba9876543210_", "other_")
	for name, talk := range talks() {
		first := counted.Replace(talk.answer(0))
		for kind, second := range map[string]string{
			"other words":  strings.Replace(first, `"t0"`, `"Another text."`, 1),
			"a mark":       strings.Replace(first, `"t0"`, `"t0!"`, 1),
			"white space":  strings.Replace(first, `"t0"`, `"t 0"`, 1),
			"large number": strings.NewReplacer(`"Bash","input":{}`, `"Bash","input":{"n":1234567890123456789}`, `"Bash","arguments":"{}"`, `"Bash","arguments":"{\"n\":1234567890123456789}"`).Replace(first),
			"other input":  strings.NewReplacer(`"Bash","input":{}`, `"Bash","input":{"n":1}`, `"Bash","arguments":"{}"`, `"Bash","arguments":"{\"n\":1}"`).Replace(first),
		} {
			first := first
			if kind == "large number" {
				first = strings.Replace(second, "789}", "788}", 1)
			}
			for _, others := range []bool{false, true} {
				up := &answers{all: []string{first, second, counted.Replace(talk.answer(1)), counted.Replace(talk.answer(1))}}
				shared := &store{turns: map[string][]byte{}}
				gateway := aibridge.NewConversations(shared)
				ask := talk.asking(t, up, func(n int) string { return fmt.Sprint("result ", n) })
				var histories [2][]string
				for i := range histories {
					for _, part := range talk.goOn(ask(gateway, "", talk.body(nil)), 0) {
						histories[i] = append(histories[i], counted.Replace(part))
					}
				}
				if others {
					gateway = aibridge.NewConversations(shared)
				}
				for i, history := range histories {
					ask(gateway, "", talk.body(history))
					sent := up.requests()
					last := sent[len(sent)-1]
					if own, other := fmt.Sprint("result ", i+1), fmt.Sprint("result ", 2-i); !strings.Contains(last, own) || strings.Contains(last, other) {
						t.Errorf("%s, %s, other gateway %v: conversation %d sent %s", name, kind, others, i, last)
					}
				}
				if kind == "a mark" || kind == "white space" {
					continue
				}
				for _, to := range []string{"", "Another text!"} {
					isTold := to == "" && kind != "other words" // By what it calls, of which the last counts.
					var changed []string
					for _, part := range histories[1] {
						changed = append(changed, strings.NewReplacer(`"Another text."`, `"`+to+`"`, `"t0"`, `"`+to+`"`).Replace(part))
					}
					ask(gateway, "", talk.body(changed))
					if sent := up.requests(); strings.Contains(sent[len(sent)-1], `result `) != isTold {
						t.Errorf("%s, %s, other gateway %v: with the text %q, sent %s", name, kind, others, to, sent[len(sent)-1])
					}
				}
				var wrapped []string
				for _, part := range histories[1] {
					wrapped = append(wrapped, strings.NewReplacer(`"Another text."`, `"\nAnother\ntext. "`, `"t0"`, `" t0\n"`).Replace(part))
				}
				ask(gateway, "", talk.body(wrapped))
				if sent := up.requests(); !strings.Contains(sent[len(sent)-1], "result 2") {
					t.Errorf("%s, %s, other gateway %v: with other white space, sent %s", name, kind, others, sent[len(sent)-1])
				}
			}
		}
	}
}
