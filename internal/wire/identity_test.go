package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/wire"
)

func TestIdentity(t *testing.T) {
	long := strings.Repeat("words ", 10_000)
	same := [][]string{
		{`{"role":"user","content":"hi"}`, `{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}`, `{"content":[{"text":"h"},{"text":"i"}],"role":"user"}`},
		{fmt.Sprintf(`{"role":"user","content":[{"type":"text","text":%q}]}`, long), fmt.Sprintf(`{"role":"user","content":[{"type":"text","text":%q,"cache_control":{"type":"ephemeral"}}]}`, long)},
		{`{"role":"user","content":null}`, `{"role":"user"}`, `{"role":"user","content":[{"type":"image"}]}`},
	}
	seen := map[string]int{}
	for n, messages := range same {
		for _, message := range messages {
			identity := wire.Identity([]byte(message))
			if before, ok := seen[identity]; ok && before != n || len(identity) > 4096 {
				t.Errorf("%.60s is known as %.60q", message, identity)
			}
			seen[identity] = n
		}
	}
	if len(seen) != len(same) {
		t.Errorf("%d identities of %d messages", len(seen), len(same))
	}
}

func TestRole(t *testing.T) {
	for message, want := range map[string]string{
		`{"role":"user","content":"x"}`: "user,", `{"type":"message","role":"assistant"}`: "assistant,message",
		`{"content":[{"role":"a"}],"role":"user","type":"m"}`: "user,", `{"type":"reasoning"}`: ",reasoning", `{"role":7}`: ",", `7`: ",",
	} {
		role, kind := wire.Role([]byte(message))
		if got := role + "," + kind; got != want {
			t.Errorf("%s: %s, want %s", message, got, want)
		}
	}
}
