package chat

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// passBody holds a body. One that is too large to be held goes to the client at once.
func (j *joint) passBody(ready, body []byte) []byte {
	if j.data.Add(body); j.data.Err() == nil {
		return ready
	}
	j.readBody(body)
	return j.appendBody(ready, body)
}

// readBody reads whose the calls of a body are.
func (j *joint) readBody(body []byte) {
	j.body = chunk{}
	if !wire.IsSound(body) || !wire.View(body).IsObject() {
		return
	}
	at := map[int]*caller{}
	j.body = j.readObject(wire.View(body), func(p piecePlace) { at[p.at] = p.of })
	j.body.callers = func(offset int) *caller { return at[offset] }
	j.settle(nil)
	for _, of := range j.order {
		if of.whose == theirs {
			j.place(of, 0, false)
		}
	}
}

// appendBody appends a body as the client sees it.
func (j *joint) appendBody(dst, body []byte) []byte {
	if j.round == 0 && !j.ours || !wire.IsSound(body) || !wire.View(body).IsObject() {
		return append(dst, body...)
	}
	w := writer{joint: j, chunk: j.body, aspects: saying | ending}
	dst = appendObject(dst, wire.View(body), w.member)
	if !wire.View(body).Get("usage").IsObject() && len(j.usage) > 0 { // Only earlier rounds told theirs.
		dst = append(append(append(dst[:len(dst)-1], `,"usage":`...), j.usage...), '}')
	}
	return dst
}

// body appends a message with what the bodies of the rounds before say put before it.
func (w *writer) body(dst []byte, message gjson.Result) []byte {
	earlier := w.joint.said
	w.joint.said = grown{} // It belongs to the first choice.
	had := map[string]bool{}
	dst = appendObject(dst, message, func(dst []byte, name string, value gjson.Result) []byte {
		before := earlier.byName[name]
		switch {
		case name == "tool_calls" && value.IsArray():
			return w.calls(dst, value, false)
		case name == "function_call" && value.IsObject():
			return w.functionCall(dst, value)
		case before == nil || had[name]:
			return append(dst, value.Raw...)
		}
		had[name] = true
		before.addMember(name, value, w.thoughts)
		return before.append(dst)
	})
	dst = earlier.appendMembers(dst[:len(dst)-1], func(name string) bool { return !had[name] })
	return append(dst, '}')
}

// keepLogprobs keeps the log probabilities of a body's first choice, which are of a text that the client sees.
func (j *joint) keepLogprobs() {
	for body := range j.data.All() {
		logprobs := wire.View(body).Get("choices.0.logprobs")
		if logprobs.IsObject() && j.joined.Memory.Take(int64(len(logprobs.Raw))) == nil {
			j.logprobs = wire.SumUsage(j.logprobs, []byte(logprobs.Raw))
		}
	}
}

// withLogprobs appends log probabilities behind those of the rounds before, which belong to the first choice.
func (w *writer) withLogprobs(dst []byte, logprobs gjson.Result) []byte {
	earlier := w.joint.logprobs
	w.joint.logprobs = nil
	return append(dst, wire.SumUsage(earlier, []byte(logprobs.Raw))...)
}

// addMessage adds what a message says, behind so many thoughts.
func (g *grown) addMessage(message *grown, thoughts int64) {
	for _, of := range message.members {
		name := inside(string(of.name))
		g.member(name, string(of.name)).addMember(name, gjson.ParseBytes(of.append(nil)), thoughts)
	}
}

func (g *grown) addMember(name string, value gjson.Result, thoughts int64) {
	if name == "reasoning_details" {
		value = gjson.ParseBytes(appendThoughts(nil, value, thoughts))
	}
	g.add(name, value, onlyOnce)
}
