package fakellm

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// plan is everything that is decided about an answer before its first byte.
type plan struct {
	format format
	newID  func(prefix string, item int) string
	memory *memory
	ask    ask
	turn   turn
	answer reply
}

// reply is an answer without a format: first the thoughts, then the text, then the calls, then the text after them.
type reply struct {
	newID    func(prefix string, item int) string
	id       string
	created  int64 // In seconds.
	thoughts []string
	text     string
	calls    []ToolCall
	after    string
	cutOff   bool // By a limit of tokens: see cutCall.
	usage    Usage
}

// decide makes the plan for a request. Its error is always a [*refusal].
func (p *plan) decide(w http.ResponseWriter, r *http.Request) error {
	var err error
	if p.ask, err = read(p.format, w, r); err != nil {
		return err
	}
	if err := p.format.insist(&p.ask, p.memory); err != nil {
		return err
	}
	var plain string
	if p.turn, plain, err = p.ask.script(r.Header.Values("X-Fakellm")); err != nil {
		return err
	}
	if p.turn.refusal != nil {
		return p.turn.refusal
	}
	if err := p.compose(plain); err != nil {
		return err
	}
	if p.turn.breaksOff(p.ask.stream) {
		p.ask.chain.store = false
	}
	if p.format.remember != nil {
		p.format.remember(p.ask, p.answer, p.memory)
	}
	return nil
}

// read reads a request's body in the format f. Its error is always a [*refusal].
func read(f format, w http.ResponseWriter, r *http.Request) (ask, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return ask{}, &refusal{status: http.StatusRequestEntityTooLarge, message: "the body exceeds 64 MiB"}
	}
	if err != nil {
		return ask{}, badRequest("the body could not be read: %v", err)
	}
	ask, err := f.read(body)
	if err != nil {
		return ask, badRequest("the body is no request of this API: %v", err)
	}
	if ask.model == "" {
		return ask, badRequest("model: field required")
	}
	return ask, nil
}

// compose fills in the answer. The argument plain is the prompt without directives.
func (p *plan) compose(plain string) error {
	made := reply{
		newID: p.newID, id: p.newID(p.format.answerID, 0), created: time.Now().Unix(), thoughts: p.turn.thoughts,
	}
	var refused []ToolCall
	for i, scripted := range p.turn.calls {
		name, declared := p.ask.called(scripted.Name)
		if !declared {
			refused = append(refused, scripted)
			continue
		}
		scripted.Name = name
		call, err := p.format.call(scripted, p.ask, func(prefix string) string { return p.newID(prefix, i) })
		if err != nil {
			return err
		}
		made.calls = append(made.calls, call)
	}
	switch {
	case p.turn.text != nil:
		made.text = *p.turn.text
	case len(made.calls) == 0 && p.turn.after == "":
		made.text = defaultText(p.ask.conversation().results, refused, plain)
	}
	made.after, made.cutOff = p.turn.after, p.turn.cutOff
	if i := made.cutCall(); i >= 0 {
		input := []rune(made.calls[i].Input)
		made.calls[i].Input = string(input[:len(input)/2])
	}
	made.usage = usageOf(p.ask, made, p.turn.usage)
	p.answer = made
	return nil
}

// cutCall returns which call has only half of its input, since a limit of tokens ended the answer there, or -1.
func (a reply) cutCall() int {
	if a.cutOff && a.after == "" {
		return len(a.calls) - 1
	}
	return -1
}

// called returns the name of the tool that a script calls, and whether there is one: of a name that ends in an asterisk, the
// first declared tool whose name begins so. A request that declares no tools gets no calls.
func (a ask) called(name string) (called string, ok bool) {
	beginning, open := strings.CutSuffix(name, "*")
	if !open {
		return name, len(a.tools) > 0
	}
	i := slices.IndexFunc(a.names, func(declared string) bool { return strings.HasPrefix(declared, beginning) })
	if i < 0 {
		return "", false
	}
	return a.names[i], true
}

// defaultText returns the text of an answer if the script sets none.
func defaultText(results []string, refused []ToolCall, plain string) string {
	switch start := firstWords(plain, 8); {
	case len(refused) > 0:
		// A client's own request, for example for a title, repeats the prompt and declares no tools. It does not expect
		// a call.
		if strings.HasSuffix(refused[0].Name, "*") {
			return "I cannot call " + refused[0].Name + ": this request declares no such tool."
		}
		return "I cannot call " + refused[0].Name + ": this request declares no tools."
	case len(results) > 0:
		return "The tool returned: " + firstWords(strings.Join(results, "; "), 60)
	case start == "":
		return "Hello from fakellm."
	default:
		return "Hello from fakellm. You wrote: " + start
	}
}

// firstWords returns the first n words of text, each at most 200 bytes long, in one line.
func firstWords(text string, n int) string {
	fields := strings.Fields(text)
	short := fields[:min(n, len(fields))]
	for i, word := range short {
		short[i] = strings.ToValidUTF8(word[:min(200, len(word))], "")
	}
	if len(fields) > n {
		short = append(short, "…")
	}
	return strings.Join(short, " ")
}

// usageOf returns the scripted figures, and for the others a count of words.
func usageOf(a ask, made reply, scripted map[string]int64) Usage {
	u := Usage{Input: a.words(), Thinking: countWords(made.thoughts...)}
	u.Output = u.Thinking + countWords(made.text, made.after)
	for _, call := range made.calls {
		u.Output += countWords(call.Name, call.Input)
	}
	u.Output = max(u.Output, 1)
	for name, figure := range map[string]*int64{
		"input": &u.Input, "output": &u.Output, "cache_read": &u.CacheRead, "cache_write": &u.CacheWrite,
		"thinking": &u.Thinking,
	} {
		if value, found := scripted[name]; found {
			*figure = value
		}
	}
	u.Thinking = min(u.Thinking, u.Output) // It is a part of the output.
	return u
}
