package crashtest

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"sync"
	"time"

	"github.com/coder/aibridged/internal/fakellm"
)

// outcome says what a client got for an attempt.
type outcome int

const (
	unfinished  outcome = iota
	whole               // A complete answer.
	unavailable         // A 503 with a Retry-After.
	broken              // No answer, or a part of one.
	wrong               // An answer that no client should ever get.
)

// attempt is one request of a client, and its outcome.
type attempt struct {
	ask

	user    string
	gateway int // The number of the gateway that its connection led to, or nowhere.
	began   time.Time
	ended   time.Time

	outcome  outcome
	received bodySum
	detail   string // Why the outcome is not whole.
}

// bodySum is the size and the SHA-256 of a body.
type bodySum struct {
	bytes  int64
	sha256 string
}

func sumOf(body []byte) bodySum {
	sum := sha256.Sum256(body)
	return bodySum{int64(len(body)), hex.EncodeToString(sum[:])}
}

// ledger holds what a test knows apart from the records: what clients sent and got, and what the upstream served. It is
// safe for concurrent use.
type ledger struct {
	mu       sync.Mutex
	attempts map[string]attempt // By model, like the next two fields.
	served   map[string][]fakellm.Served
	answers  map[string]bodySum // What the upstream sent.
	outcomes map[outcome]int    // The number of attempts with each.
}

func newLedger() *ledger {
	return &ledger{
		attempts: make(map[string]attempt), served: make(map[string][]fakellm.Served), answers: make(map[string]bodySum),
		outcomes: make(map[outcome]int),
	}
}

// note notes an attempt, before it is sent and once it has ended.
func (l *ledger) note(a attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if earlier, known := l.attempts[a.model]; known {
		l.outcomes[earlier.outcome]--
	}
	l.attempts[a.model] = a
	l.outcomes[a.outcome]++
}

// serve is the log function of a fakellm. It shortens long prompts to the part that is compared.
func (l *ledger) serve(served fakellm.Served) {
	served.Prompt = promptFact(served.Prompt)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.served[served.Model] = append(l.served[served.Model], served)
}

// wrongs returns the attempts with an answer that no client should get.
func (l *ledger) wrongs() []attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.outcomes[wrong] == 0 {
		return nil
	}
	var wrongs []attempt
	for _, a := range l.attempts {
		if a.outcome == wrong {
			wrongs = append(wrongs, a)
		}
	}
	return wrongs
}

// count returns how many attempts have had the outcome o so far.
func (l *ledger) count(o outcome) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outcomes[o]
}

// comparison returns the ledger so far, to be compared with records. It is given the lives of each gateway.
func (l *ledger) comparison(lives ...[]life) *comparison {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &comparison{
		attempts: maps.Clone(l.attempts), served: maps.Clone(l.served), answers: maps.Clone(l.answers), lives: lives,
	}
}
