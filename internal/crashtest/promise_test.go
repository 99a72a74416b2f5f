package crashtest

import (
	"fmt"
	"sync"

	"github.com/coder/aibridged/aibridgedserver"
)

// kind is the kind of a promise.
type kind int

const (
	begun   kind = iota // The interception is recorded, and will have an end.
	ended               // It is recorded whole: its client has the answer.
	issued              // A token is valid.
	revoked             // It is not.
)

func (k kind) String() string {
	return [...]string{"interception begun", "interception ended", "token issued", "token revoked"}[k]
}

// promise is what somebody was promised when a machine had taken a number of steps.
type promise struct {
	kind  kind
	id    string // The id of the interception or token.
	steps int
}

// promises are the promises made on a machine. They are safe for concurrent use.
type promises struct {
	machine *machine

	mu   sync.Mutex
	made []promise
}

// make notes that a promise has just been made.
func (p *promises) make(k kind, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made = append(p.made, promise{k, id, p.machine.now()})
}

// before returns the promises made before a step.
func (p *promises) before(steps int) []promise {
	p.mu.Lock()
	defer p.mu.Unlock()
	var made []promise
	for _, m := range p.made {
		if m.steps <= steps {
			made = append(made, m)
		}
	}
	return made
}

// found is what a start after a power failure found, once all waiting records were delivered.
type found struct {
	err           error
	integrity     string
	interceptions []*aibridgedserver.Interception
	tokens        []aibridgedserver.APIKey
}

// check returns which promises are broken, and any other faults.
func (f *found) check(made []promise) (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	if f.err != nil {
		complain("it does not start: %v", f.err)
		return complaints
	}
	if f.integrity != "ok" {
		complain("the database is damaged: %s", f.integrity)
	}
	interceptions, over, whole := map[string]int{}, map[string]bool{}, map[string]bool{}
	for _, i := range f.interceptions {
		interceptions[i.ID]++
		over[i.ID], whole[i.ID] = i.EndedAt != nil, isWhole(i)
		if i.EndedAt == nil {
			complain("%s has started and never ends", i.ID)
		}
	}
	tokens := map[string]aibridgedserver.APIKey{}
	for _, token := range f.tokens {
		tokens[token.ID] = token
	}
	for _, p := range made {
		kept := false
		switch token, known := tokens[p.id]; p.kind {
		case begun:
			kept = interceptions[p.id] == 1 && over[p.id]
		case ended:
			kept = interceptions[p.id] == 1 && whole[p.id]
		case issued:
			kept = known
		case revoked:
			kept = known && token.RevokedAt != nil
		}
		if !kept {
			complain("%v: %s is not recorded, not once, or not to its end", p.kind, p.id)
		}
	}
	return complaints
}

// isWhole reports whether an interception has each record that serve makes, once.
func isWhole(i *aibridgedserver.Interception) bool {
	return i.ErrorType == nil && len(i.Prompts) == 1 && len(i.TokenUsages) == 1 && len(i.ToolUsages) == 1 &&
		i.Prompts[0].Prompt == promptOf(i.ID) && i.ToolUsages[0].Input == inputOf(i.ID)
}
