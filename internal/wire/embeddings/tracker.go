package embeddings

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// tracker reads one answer, which is a JSON body.
type tracker struct {
	payloads wire.Payloads
	answer   wire.Answer
	usage    wire.Meter
}

func (t *tracker) Observe(event sse.Event) {
	data, unread := t.payloads.Object(event)
	if data != nil {
		body := wire.View(data)
		unread = !wire.IsSound(data) || !t.read(wire.Kind(event, body), body)
	}
	if unread {
		t.answer.Unread++
	}
}

// read reports whether it understood the body: a list of embeddings, or an error.
func (t *tracker) read(kind string, body gjson.Result) bool {
	if kind == "ping" {
		return true
	}
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
	return t.usage.Read(body.Get("usage"))
}

func (t *tracker) Ended() bool { return false }

func (t *tracker) MayEnd() bool { return t.answer.Terminal }

func (t *tracker) Answer() wire.Answer {
	answer := t.answer
	answer.Usage = t.usage.Usage()
	return answer
}
