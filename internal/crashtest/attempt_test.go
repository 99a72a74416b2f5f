package crashtest

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"sync"
	"time"

	"github.com/coder/aibridged/internal/fakellm"
)

// outcome is what a client got.
type outcome int

const (
	unfinished  outcome = iota
	whole               // All of an answer.
	unavailable         // A 503 that says when to come back.
	broken              // No answer, or a part of one.
	wrong               // What no client should ever get.
)

// attempt is one request of a client, and what became of it.
type attempt struct {
	ask

	began time.Time
	ended time.Time

	outcome  outcome
	received bodySum
	detail   string // Of an outcome other than whole.
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

// ledger is what is known of a test apart from the records: what clients sent and got, and what the upstream served. It
// is safe for concurrent use.
type ledger struct {
	mu       sync.Mutex
	attempts map[string]attempt // By model.
	served   map[string][]fakellm.Served
	outcomes map[outcome]int // How many attempts there are of each.
}

func newLedger() *ledger {
	return &ledger{
		attempts: make(map[string]attempt), served: make(map[string][]fakellm.Served), outcomes: make(map[outcome]int),
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

// serve is the log of a fakellm. Of a long prompt it keeps what is compared.
func (l *ledger) serve(served fakellm.Served) {
	served.Prompt = promptFact(served.Prompt)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.served[served.Model] = append(l.served[served.Model], served)
}

// wrongs returns the attempts that had an answer which none should have.
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

// count returns how many attempts have had an outcome so far.
func (l *ledger) count(o outcome) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outcomes[o]
}

// comparison returns what is known so far, to be held against records.
func (l *ledger) comparison(lives []life) *comparison {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &comparison{attempts: maps.Clone(l.attempts), served: maps.Clone(l.served), lives: lives}
}
