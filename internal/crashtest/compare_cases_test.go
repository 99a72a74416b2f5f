package crashtest

import (
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakellm"
)

// example is a short test without faults in its records: one answer received whole, one cut by the kill of the first
// gateway, one request that came while there was no gateway, and one that was refused.
type example struct {
	comparison

	whole, cut *aibridgedserver.Interception
	recorded   []*aibridgedserver.Interception
}

const (
	wholeModel   = "client00-000000"
	cutModel     = "client01-000000"
	absentModel  = "client02-000000"
	refusedModel = "client03-000000"
)

func newExample() *example {
	at := func(second int) time.Time { return time.Date(2026, 11, 23, 0, 0, second, 0, time.UTC) }
	e := &example{comparison: comparison{
		attempts: make(map[string]attempt),
		served:   make(map[string][]fakellm.Served),
		answers:  make(map[string]bodySum),
		lives: [][]life{
			{{began: at(0), ready: at(1), killed: at(10), ended: at(11)}, {began: at(12), ready: at(15), ended: at(30)}},
			{{began: at(0), ready: at(1), ended: at(30)}},
		},
	}}
	e.add(wholeModel, attempt{outcome: whole, began: at(2), ended: at(4), received: bodySum{7, "abc"}})
	e.add(cutModel, attempt{outcome: broken, began: at(8), ended: at(11)})
	e.add(absentModel, attempt{outcome: broken, began: at(12), ended: at(13)})
	e.add(refusedModel, attempt{outcome: unavailable, began: at(20), ended: at(21)})
	e.answers[wholeModel] = bodySum{7, "abc"}
	e.whole, e.cut = e.record(wholeModel, at(2), at(4)), e.record(cutModel, at(9), at(14))
	served := e.serve(wholeModel)
	e.whole.TokenUsages = []aibridgedserver.TokenUsage{{MsgID: served.AnswerID, InputTokens: 5, OutputTokens: 6}}
	e.whole.ResponseBytes, e.whole.ResponseSHA256 = new(int64(7)), new("abc")
	e.serve(cutModel)
	e.cut.ErrorType, e.cut.ErrorMessage = new("truncated"), new(cutMessage)
	e.recorded = []*aibridgedserver.Interception{e.whole, e.cut}
	return e
}

func (e *example) add(model string, a attempt) {
	a.ask, a.user = ask{model: model, format: formats()[0], prompt: "Answer " + model}, user
	e.attempts[model] = a
}

func (e *example) serve(model string) fakellm.Served {
	served := fakellm.Served{
		Model: model, Prompt: promptFact(e.attempts[model].prompt), AnswerID: "answer to " + model,
		Usage: fakellm.Usage{Input: 5, Output: 6},
	}
	e.served[model] = append(e.served[model], served)
	return served
}

func (e *example) record(model string, started, ended time.Time) *aibridgedserver.Interception {
	a := e.attempts[model]
	request := sumOf([]byte(a.body()))
	return &aibridgedserver.Interception{
		ID: "interception of " + model, Model: model, Initiator: user, StartedAt: started, EndedAt: &ended,
		RequestBytes: &request.bytes, RequestSHA256: &request.sha256,
		Prompts: []aibridgedserver.Prompt{{Prompt: a.prompt}},
	}
}

// TestComparison spoils the example in one way at a time: the comparison must notice each.
func TestComparison(t *testing.T) {
	t.Parallel()
	type spoil func(e *example)
	end := func(i *aibridgedserver.Interception, at time.Time) { i.EndedAt = &at }
	outcome := func(model string, o outcome) spoil {
		return func(e *example) {
			a := e.attempts[model]
			a.outcome = o
			e.attempts[model] = a
		}
	}
	for name, test := range map[string]struct {
		spoil spoil
		want  string // Empty: nothing is wrong.
	}{
		"all well":            {func(*example) {}, ""},
		"interception lost":   {func(e *example) { e.recorded = e.recorded[1:] }, "received all of the answer, and 0 interceptions are recorded"},
		"start lost":          {func(e *example) { e.recorded = e.recorded[:1] }, "sent upstream, and no interception is recorded"},
		"recorded twice":      {func(e *example) { e.recorded = append(e.recorded, e.whole) }, "2 interceptions are recorded"},
		"cut recorded twice":  {func(e *example) { e.recorded = append(e.recorded, e.cut) }, "2 interceptions are recorded"},
		"of an unknown model": {func(e *example) { delete(e.attempts, cutModel) }, "belongs to no request that was sent"},
		"usage lost":          {func(e *example) { e.whole.TokenUsages = nil }, "recorded: prompt"},
		"usage twice":         {func(e *example) { e.whole.TokenUsages = append(e.whole.TokenUsages, e.whole.TokenUsages...) }, "recorded: prompt"},
		"tokens wrong":        {func(e *example) { e.whole.TokenUsages[0].OutputTokens++ }, "7 out"},
		"prompt twice":        {func(e *example) { e.whole.Prompts = append(e.whole.Prompts, e.whole.Prompts...) }, "recorded: prompt"},
		"call invented":       {func(e *example) { e.whole.ToolUsages = []aibridgedserver.ToolUsage{{Tool: "rm"}} }, "call  rm"},
		"thought invented":    {func(e *example) { e.whole.ModelThoughts = []aibridgedserver.ModelThought{{Content: "hm"}} }, "thought hm"},
		"request differs":     {func(e *example) { *e.whole.RequestBytes++ }, "the request is recorded as"},
		"answer differs":      {func(e *example) { *e.whole.ResponseSHA256 = "def" }, "the answer is recorded as"},
		"somebody else's":     {func(e *example) { e.whole.Initiator = "eve" }, `of "eve"`},
		"not ended":           {func(e *example) { e.cut.EndedAt = nil }, "has not ended"},
		"another error":       {func(e *example) { e.cut.ErrorMessage = nil }, "it ended as truncated"},
		"whole and cut":       {outcome(cutModel, whole), "received all of the answer, and it is recorded as cut"},
		"cut without prompt":  {func(e *example) { e.cut.Prompts = nil }, "it has 0 prompts"},
		"cut with usages":     {func(e *example) { e.cut.TokenUsages = make([]aibridgedserver.TokenUsage, 2) }, "it has 2 token usages"},
		"cut without a kill":  {func(e *example) { e.cut.StartedAt = e.lives[0][1].ready }, "no life of the gateway that was killed"},
		"cut ended too soon":  {func(e *example) { end(e.cut, e.lives[0][0].ready) }, "not between the kill"},
		"cut ended too late":  {func(e *example) { end(e.cut, e.lives[0][1].ended) }, "not between the kill"},
		"success never sent":  {func(e *example) { delete(e.served, wholeModel) }, "was never sent upstream"},
		"sent twice":          {func(e *example) { e.serve(cutModel) }, "it was sent upstream 2 times"},
		"part of a request":   {func(e *example) { e.served[""] = make([]fakellm.Served, 1) }, ""},
		"part without a kill": {func(e *example) {
			e.served[""] = make([]fakellm.Served, 1)
			e.lives[0][0].killed = time.Time{}
		}, "came upstream in part"},
		"another's answer": {func(e *example) { e.answers[wholeModel] = bodySum{8, "abd"} }, "the upstream sent"},
		"another gateway's kill": {func(e *example) {
			a := e.attempts[absentModel]
			a.gateway = 1
			e.attempts[absentModel] = a
		}, "was not killed"},
		"no gateway, one is there": {func(e *example) {
			a := e.attempts[absentModel]
			a.gateway = nowhere
			e.attempts[absentModel] = a
		}, "was not killed"},
		"refused and sent": {func(e *example) { e.serve(refusedModel) }, "it was refused, and sent upstream 1 times"},
		"broken by itself": {func(e *example) {
			a := e.attempts[absentModel]
			a.began, a.ended = e.lives[0][1].ended, e.lives[0][1].ended
			e.attempts[absentModel] = a
		}, "was not killed"},
		"wrong answer": {outcome(absentModel, wrong), "got a wrong answer, or none"},
		"no answer":    {outcome(absentModel, unfinished), "got a wrong answer, or none"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExample()
			test.spoil(e)
			complaints := strings.Join(e.run(e.recorded), "\n")
			if test.want == "" && complaints != "" || !strings.Contains(complaints, test.want) {
				t.Errorf("got %q, want %q", complaints, test.want)
			}
		})
	}
}
