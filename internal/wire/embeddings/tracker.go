package embeddings

import (
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// tracker reads one answer, which is a JSON body.
type tracker struct {
	payloads wire.Payloads
	answer   wire.Answer

	told           bool // There was a usage.
	prompt, sum    wire.Figure
	output, cached wire.Figure
}

func (t *tracker) Observe(event sse.Event) {
	data, unread := t.payloads.Object(event)
	if data != nil {
		unread = !wire.IsSound(data) || !t.read(wire.Kind(event, data), data)
	}
	if unread {
		t.answer.Unread++
	}
}

// read reports whether it understood the body: a list of embeddings, or an error.
func (t *tracker) read(kind string, data []byte) bool {
	if kind == "ping" {
		return true
	}
	body := wire.View(data)
	if !body.Get("data").IsArray() {
		failure, failed := wire.ReadFailure(kind, body)
		if failed {
			t.answer.Failure = failure
			t.answer.Terminal = true
		}
		return failed
	}
	t.answer.Terminal = true
	t.answer.ID = wire.Kept(body.Get("id"))
	t.answer.Model = wire.Kept(body.Get("model"))
	if usage := body.Get("usage"); usage.IsObject() {
		t.told = true
		t.prompt.Read(usage.Get("prompt_tokens"))
		t.sum.Read(usage.Get("total_tokens"))
		t.output.Read(usage.Get("completion_tokens"))
		t.cached.Read(usage.Get("prompt_tokens_details.cached_tokens"))
	}
	return true
}

func (t *tracker) Ended() bool { return false }

func (t *tracker) MayEnd() bool { return t.answer.Terminal }

func (t *tracker) Answer() wire.Answer {
	answer := t.answer
	if !t.told {
		return answer
	}
	whole := t.prompt
	if whole == (wire.Figure{}) {
		whole = t.sum // Some upstreams only tell the sum, which is the input: embeddings are not counted in tokens.
	}
	input, consistent := whole.Less(t.cached)
	answer.Usage = &wire.Usage{
		Input: input, Output: t.output.Value(), CacheRead: t.cached.Value(),
		Extra:        wire.Extras(map[string]wire.Figure{"total_tokens": t.sum}),
		Inconsistent: !consistent,
	}
	return answer
}
