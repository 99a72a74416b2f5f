package bedrock

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/upstream"
)

// anthropicVersion is the only version that InvokeModel has.
const anthropicVersion = `"bedrock-2023-05-31"`

// invocation is a request of the Messages API as one for InvokeModel.
type invocation struct {
	path   string // Escaped, with the model as one segment: colons of ids and ARNs stay as they are, slashes do not.
	stream bool
	edits  []jsonedit.Edit
	sent   upstream.Sent
}

// rewrite returns how a request of the Messages API goes to InvokeModel: the model and whether to stream move from the body
// to the path, the flags of anthropic-beta from the header to the body, and what the model would be refused for goes.
func (t *transport) rewrite(header http.Header, body []byte) (invocation, error) {
	object, err := jsonedit.Parse(body)
	if err != nil {
		return invocation{}, &apierror.Error{Status: http.StatusBadRequest, Text: "request body: " + err.Error()}
	}
	value, _ := object.Get("model")
	asked, _ := jsonedit.String(value)
	id := cmp.Or(t.models[asked], asked)
	segment, ok := upstream.ModelSegment(id)
	if !ok {
		return invocation{}, &apierror.Error{Status: http.StatusBadRequest, Text: "model: Bedrock needs the name of one"}
	}
	if _, ok := object.Get("messages"); !ok {
		return invocation{}, &apierror.Error{Status: http.StatusBadRequest, Text: "messages: Bedrock needs them, and keeps no threads"}
	}
	m := modelOf(id)
	if !m.isKnown() { // Ids of inference profiles can be anything.
		m = modelOf(asked)
	}
	stream, _ := object.Get("stream")
	r := invocation{path: "/model/" + segment + "/invoke", stream: string(stream) == "true"}
	if r.stream {
		r.path += "-with-response-stream"
	}
	flags := t.flags(header, object, m)
	gone := append([]string{"model", "stream", "betas"}, refused(topMembers(), m)...)
	if len(flags) == 0 {
		gone = append(gone, "anthropic_beta")
	}
	r.edits = object.Without(gone...)
	if _, ok := object.Get("anthropic_version"); !ok {
		r.edits = append(r.edits, object.Set("anthropic_version", []byte(anthropicVersion)))
	}
	if len(flags) > 0 {
		list, err := json.Marshal(flags)
		if err != nil {
			return invocation{}, err // Strings always marshal.
		}
		r.edits = append(r.edits, object.Set("anthropic_beta", list))
	}
	if !slices.Contains(gone, "output_config") {
		r.edits = append(r.edits, within(object, "output_config", refused(outputMembers(), m))...)
	}
	r.edits = append(r.edits, toolEdits(object, refused(toolMembers(), m))...)
	r.sent = upstream.Sent{Model: id, ShortCache: !longCache().isOf(m)}
	if r.sent.ShortCache && bytes.Contains(body, []byte(`"ttl"`)) {
		r.edits = append(r.edits, cacheEdits(object, cacheLevels)...)
	}
	return r, nil
}

// flags returns the flags of anthropic-beta that go upstream, each once and in their order: those of the header and of the
// body that the model accepts, and those that stand for members which it does not accept.
func (t *transport) flags(header http.Header, object jsonedit.Object, m model) []string {
	var asked, flags []string
	for _, line := range header.Values("Anthropic-Beta") {
		for flag := range strings.SplitSeq(line, ",") {
			asked = append(asked, strings.TrimSpace(flag))
		}
	}
	for _, name := range [...]string{"anthropic_beta", "betas"} {
		elements := object.Elements(name)
		for i := range elements.Len() {
			flag, _ := jsonedit.String(elements.At(i))
			asked = append(asked, strings.TrimSpace(flag))
		}
	}
	if isEager(object) {
		asked = append(asked, eagerBeta)
	}
	known := betas()
	for _, flag := range asked {
		if !slices.Contains(flags, flag) && (slices.Contains(t.betas, flag) || accepts(known, flag, m)) {
			flags = append(flags, flag)
		}
	}
	return flags
}

// isEager reports whether a tool asks for its input as the model writes it.
func isEager(object jsonedit.Object) bool {
	tools := object.Elements("tools")
	for i := range tools.Len() {
		if !bytes.Contains(tools.At(i), []byte(eager)) {
			continue
		}
		if tool, err := jsonedit.Parse(tools.At(i)); err == nil {
			if value, _ := tool.Get(eager); string(value) == "true" {
				return true
			}
		}
	}
	return false
}

// within returns the edits that remove members from a member that is an object.
func within(object jsonedit.Object, name string, members []string) []jsonedit.Edit {
	value, ok := object.Get(name)
	if !ok {
		return nil
	}
	inner, err := jsonedit.Parse(value)
	if err != nil {
		return nil // It is no object, which the upstream will say.
	}
	return jsonedit.Moved(inner.Without(members...), object.Start(name))
}

// toolEdits returns the edits that remove members from each tool.
func toolEdits(object jsonedit.Object, members []string) []jsonedit.Edit {
	var edits []jsonedit.Edit
	tools := object.Elements("tools")
	for i := range tools.Len() {
		text := tools.At(i)
		if !slices.ContainsFunc(members, func(name string) bool { return bytes.Contains(text, []byte(name)) }) {
			continue
		}
		if tool, err := jsonedit.Parse(text); err == nil {
			start, _ := tools.Place(i)
			edits = append(edits, jsonedit.Moved(tool.Without(members...), start)...)
		}
	}
	return edits
}

// cacheLevels is how many objects are within each other where cache marks are: a request has messages, these have content,
// and a tool result in that has a content of its own.
const cacheLevels = 4

// cacheEdits returns the edits that make all cache marks those of the default ttl, in an object and as many levels below it.
func cacheEdits(object jsonedit.Object, levels int) []jsonedit.Edit {
	edits := within(object, "cache_control", []string{"ttl"})
	if levels == 1 {
		return edits
	}
	for _, name := range [...]string{"tools", "system", "messages", "content"} {
		elements := object.Elements(name)
		for i := range elements.Len() {
			text := elements.At(i)
			if !bytes.Contains(text, []byte(`"ttl"`)) {
				continue
			}
			if element, err := jsonedit.Parse(text); err == nil {
				start, _ := elements.Place(i)
				edits = append(edits, jsonedit.Moved(cacheEdits(element, levels-1), start)...)
			}
		}
	}
	return edits
}
