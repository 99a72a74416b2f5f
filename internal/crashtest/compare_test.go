package crashtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakellm"
)

// user is the name of the user who sends all requests.
const user = "ada"

// clock is how a moment is shown in complaints.
const clock = "15:04:05.000"

// cutMessage is the error message that a gateway records at its start for an interception that a kill cut.
const cutMessage = "the gateway's process ended before the answer did"

// comparison compares records with what clients got and what the upstream served.
type comparison struct {
	attempts map[string]attempt // By model, like the fields below but lives.
	served   map[string][]fakellm.Served
	answers  map[string]bodySum
	lives    [][]life // Of each gateway.
	recorded map[string][]*aibridgedserver.Interception

	cut        int // How many interceptions were cut by a kill.
	complaints []string
}

// run returns every difference, once all records have been delivered.
func (c *comparison) run(recorded []*aibridgedserver.Interception) []string {
	c.recorded = make(map[string][]*aibridgedserver.Interception, len(recorded))
	for _, i := range recorded {
		c.recorded[i.Model] = append(c.recorded[i.Model], i)
	}
	for _, i := range recorded {
		c.checkInterception(i)
	}
	for _, a := range c.attempts {
		c.checkAttempt(a)
	}
	for model, served := range c.served {
		c.checkServed(model, served)
	}
	slices.Sort(c.complaints)
	return c.complaints
}

func (c *comparison) complain(model, format string, args ...any) {
	c.complaints = append(c.complaints, model+": "+fmt.Sprintf(format, args...))
}

// checkAttempt checks what a client knows.
func (c *comparison) checkAttempt(a attempt) {
	recorded := len(c.recorded[a.model])
	switch a.outcome {
	case whole:
		if recorded != 1 {
			c.complain(a.model, "its client received all of the answer, and %d interceptions are recorded", recorded)
		}
		if sent := c.answers[a.model]; sent != a.received {
			c.complain(a.model, "the upstream sent %v, and its client received %v", sent, a.received)
		}
	case unavailable:
		if served := len(c.served[a.model]); recorded > 0 || served > 0 {
			c.complain(a.model, "it was refused, and sent upstream %d times and recorded %d times", served, recorded)
		}
	case broken:
		if recorded > 1 {
			c.complain(a.model, "%d interceptions are recorded", recorded)
		}
		if !c.killedWithin(a) {
			c.complain(a.model, "its client noticed something between %v and %v, although its gateway %d was not killed: %s",
				a.began.Format(clock), a.ended.Format(clock), a.gateway, a.detail)
		}
	default:
		c.complain(a.model, "its client got a wrong answer, or none: %s", a.detail)
	}
}

// killedWithin reports whether, at some time of an attempt, its gateway had been killed and was not ready again yet. Where
// there was none for it, that must be so of all.
func (c *comparison) killedWithin(a attempt) bool {
	if a.gateway != nowhere {
		return isAwayWithin(c.lives[a.gateway], a.began, a.ended)
	}
	return !slices.ContainsFunc(c.lives, func(lives []life) bool { return !isAwayWithin(lives, a.began, a.ended) })
}

// checkServed checks what the upstream served: no request may reach it before its start is recorded.
func (c *comparison) checkServed(model string, served []fakellm.Served) {
	if model == "" {
		// The upstream has served something that is not recorded, so a kill must have come in between.
		if !slices.ContainsFunc(slices.Concat(c.lives...), func(l life) bool { return !l.killed.IsZero() }) {
			c.complain(model, "%d requests came upstream in part, although no gateway was killed", len(served))
		}
		return
	}
	if n := len(served); n != 1 {
		c.complain(model, "it was sent upstream %d times", n)
	}
	if len(c.recorded[model]) == 0 {
		c.complain(model, "it was sent upstream, and no interception is recorded")
	}
}

// checkInterception checks a record against the ledger.
func (c *comparison) checkInterception(i *aibridgedserver.Interception) {
	a, sent := c.attempts[i.Model]
	if !sent {
		c.complain(i.Model, "interception %s belongs to no request that was sent", i.ID)
		return
	}
	want := sumOf([]byte(a.body()))
	if got := sumIn(i.RequestBytes, i.RequestSHA256); got != want {
		c.complain(i.Model, "the request is recorded as %v, and was %v", got, want)
	}
	switch {
	case i.Initiator != a.user:
		c.complain(i.Model, "it is recorded as of %q", i.Initiator)
	case i.EndedAt == nil:
		c.complain(i.Model, "interception %s has not ended", i.ID)
	case i.ErrorType == nil:
		c.checkWhole(a, i)
	case *i.ErrorType == "truncated" && i.ErrorMessage != nil && *i.ErrorMessage == cutMessage:
		c.checkCut(a, i)
	default:
		c.complain(i.Model, "it ended as %s", errorOf(i))
	}
}

func errorOf(i *aibridgedserver.Interception) string {
	text := *i.ErrorType
	if i.ErrorMessage != nil {
		text += ": " + *i.ErrorMessage
	}
	return text
}

// sumIn returns a recorded size and SHA-256 as a bodySum.
func sumIn(bytes *int64, sha256 *string) bodySum {
	if bytes == nil || sha256 == nil {
		return bodySum{}
	}
	return bodySum{*bytes, *sha256}
}

// checkWhole checks an interception that is recorded as a success, whether or not its client got the answer.
func (c *comparison) checkWhole(a attempt, i *aibridgedserver.Interception) {
	served := c.served[i.Model]
	if len(served) == 0 {
		c.complain(i.Model, "it is recorded as a success, and was never sent upstream")
		return
	}
	if got, want := recordedFacts(i), servedFacts(served[0]); got != want {
		c.complain(i.Model, "recorded: %s\n\tserved:   %s", got, want)
	}
	if got := sumIn(i.ResponseBytes, i.ResponseSHA256); a.outcome == whole && got != a.received {
		c.complain(i.Model, "the answer is recorded as %v, and its client received %v", got, a.received)
	}
}

// checkCut checks an interception that a kill cut, and that the gateway's next start has ended.
func (c *comparison) checkCut(a attempt, i *aibridgedserver.Interception) {
	c.cut++
	if a.outcome == whole {
		c.complain(i.Model, "its client received all of the answer, and it is recorded as cut")
	}
	// A kill can come while the records of one call are written: the first of them may be there.
	if prompts := len(i.Prompts); prompts > 1 || prompts == 0 && len(c.served[i.Model]) > 0 {
		c.complain(i.Model, "it has %d prompts", prompts)
	}
	if usages := len(i.TokenUsages); usages > 1 {
		c.complain(i.Model, "it has %d token usages", usages)
	}
	if a.gateway == nowhere {
		c.complain(i.Model, "it is recorded, and its connection led to no gateway")
		return
	}
	lives := c.lives[a.gateway]
	n := slices.IndexFunc(lives, func(l life) bool {
		return !i.StartedAt.Before(l.began.Truncate(time.Microsecond)) && !i.StartedAt.After(l.ended)
	})
	if n < 0 || lives[n].killed.IsZero() {
		c.complain(i.Model, "it started at %v, within no life of the gateway that was killed", i.StartedAt)
		return
	}
	back := slices.IndexFunc(lives[n+1:], func(next life) bool { return !next.ready.IsZero() })
	if back < 0 || i.EndedAt.Before(lives[n].killed.Truncate(time.Microsecond)) || i.EndedAt.After(lives[n+1+back].ready) {
		c.complain(i.Model, "it ended at %v: not between the kill that cut it and the end of the next start", *i.EndedAt)
	}
}

// recordedFacts returns, as text, what must be recorded of a success.
func recordedFacts(i *aibridgedserver.Interception) string {
	var facts []string
	for _, prompt := range i.Prompts {
		facts = append(facts, promptFact(prompt.Prompt))
	}
	for _, u := range i.TokenUsages {
		facts = append(facts, usageFact(u.MsgID, u.InputTokens, u.OutputTokens, u.CacheReadInputTokens, u.CacheWriteInputTokens))
	}
	for _, call := range i.ToolUsages {
		facts = append(facts, "call "+call.ToolCallID+" "+call.Tool+" "+call.Input)
	}
	for _, thought := range i.ModelThoughts {
		facts = append(facts, "thought "+thought.Content)
	}
	return strings.Join(facts, "; ")
}

func servedFacts(s fakellm.Served) string {
	facts := []string{
		s.Prompt, usageFact(s.AnswerID, s.Usage.Input, s.Usage.Output, s.Usage.CacheRead, s.Usage.CacheWrite),
	}
	for _, call := range s.ToolCalls {
		facts = append(facts, "call "+call.ID+" "+call.Name+" "+call.Input)
	}
	for _, thought := range s.Thoughts {
		facts = append(facts, "thought "+thought)
	}
	return strings.Join(facts, "; ")
}

// promptFact returns the prompt, or a short form of a long one.
func promptFact(prompt string) string {
	const shown = 1000
	if len(prompt) <= shown {
		return "prompt " + prompt
	}
	return fmt.Sprintf("prompt %s… (%v)", prompt[:shown/2], sumOf([]byte(prompt)))
}

func usageFact(answer string, input, output, cacheRead, cacheWrite int64) string {
	return fmt.Sprintf("answer %s of %d in, %d out, %d read, %d written", answer, input, output, cacheRead, cacheWrite)
}
