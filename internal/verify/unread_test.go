package verify

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/rederive"
)

// TestUnread has two rounds with what no decoder reads, and counts it by provider and model. It makes no difference.
func TestUnread(t *testing.T) {
	const answer = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"dreams\":1}}}\n\ndata: {\"type\":\"dream\"}\n\n" +
		"data: {\"type\":\"message_stop\"}\n\n"
	dir, id := t.TempDir(), uuid.Must(uuid.NewV7())
	keepRound(t, dir, id, keptRound(answer, kept.End{Ending: kept.Whole}), 0)
	recorded := recordedOf("", keptRound(answer, kept.End{Ending: kept.Whole}))
	recorded.ID, recorded.ProviderName = id, "one"
	recorded.Facts.TokenUsages = []rederive.TokenUsage{{Metadata: map[string]any{"raw": `{"dreams":1}`}}}

	var unread Unread
	for range 2 {
		r := run{records: memory{}, dir: dir, seen: map[uuid.UUID]bool{}}
		verdict := r.verdict(t.Context(), recorded)
		if len(verdict.Differences) > 0 {
			t.Fatalf("differences %q", fields(verdict.Differences))
		}
		unread.Add(verdict)
	}
	counts, more := unread.Counts()
	want := []UnreadCount{
		{UnreadThing{"one", "m", EventType, "dream"}, 2},
		{UnreadThing{"one", "m", UsageMember, "dreams"}, 2},
	}
	if fmt.Sprint(counts) != fmt.Sprint(want) || more != 0 {
		t.Errorf("%v and %d others, want %v", counts, more, want)
	}
}

func TestUnreadIsBounded(t *testing.T) {
	var unread Unread
	for i := range mostUnread + 5 {
		unread.Add(Verdict{Unread: rederive.Unread{Members: map[string]int{fmt.Sprint(i): 2}}})
	}
	if counts, more := unread.Counts(); len(counts) != mostUnread || more != 10 {
		t.Errorf("%d things and %d others", len(counts), more)
	}
}

// TestRawWithoutCredential has an upstream that repeats the request's key within its usage object: the record has the
// hint instead, which is no difference.
func TestRawWithoutCredential(t *testing.T) {
	const answer = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1,\"by\":\"sk-a-very-long-key-wxyz\"}}}\n\n" +
		"data: {\"type\":\"message_stop\"}\n\n"
	round := keptRound(answer, kept.End{Ending: kept.Whole})
	for redacted, want := range map[bool]string{true: "", false: "token_usages[0].metadata[raw]"} {
		recorded := recordedOf("", round)
		metadata := map[string]any{"raw": `{"input_tokens":1,"by":"sk-a...wxyz"}`}
		if redacted {
			metadata["credential_redacted"] = true
		}
		recorded.Facts.TokenUsages = []rederive.TokenUsage{{Input: 1, Metadata: metadata}}
		a := account{recorded: recorded, rounds: []*kept.Exchange{round}}
		if got := fields(a.differences()); got != want {
			t.Errorf("redacted %t: differences %q, want %q", redacted, got, want)
		}
	}
}
