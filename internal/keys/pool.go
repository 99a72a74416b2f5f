package keys

import (
	"hash/maphash"
	"math"
	"net/http"
	"time"
)

// Pool is the keys of one generation of a provider. It is safe for concurrent use.
type Pool struct {
	known   *known
	entries []entry
}

// Ask is what a request needs of a key. The zero Ask takes any.
type Ask struct {
	// Model is the model of the request. Empty: it names none.
	Model string
	// Session identifies the conversation of the request, which stays on its key while that is ready: caches of prompts
	// belong to an account. Empty: there is none.
	Session string
	// Stored is the id of what the request continues at the provider, such as a response. Empty: nothing. It is of use
	// only with a key of the account that it was stored for.
	Stored string
	// Home is the key that an earlier round of the same request was served with. The zero Choice: there was none.
	Home Choice
	// Bound says that the request has something that was encrypted for the account of Home or, if there is none, of its
	// session.
	Bound bool
}

// Choice is the key that was chosen for a request.
type Choice struct {
	Key

	model string
	state *state
}

// Resting is the error of a Choose for which no key is ready.
type Resting struct {
	// For is how long it is until the first key is ready again, above zero.
	For time.Duration
	// State is Unauthorized or Dead if that is the state of all keys, and otherwise Limited.
	State State
}

// Error implements error.
func (r *Resting) Error() string { return "no key is ready: " + string(r.State) }

// Len returns how many keys there are.
func (p *Pool) Len() int { return len(p.entries) }

// Choose chooses a key: that of what the request continues, or of its session, if that is ready, and otherwise the one
// that was used the least lately of those that are ready. A key whose requests fail counts as much used. What is bound to
// an account gets a key of that account only. If there is no such key, it fails with a *[Resting]; of a pool without keys,
// it must not be called.
func (p *Pool) Choose(ask Ask) (Choice, error) {
	ask.Model = ask.Model[:min(len(ask.Model), longestModel)]
	k := p.known
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	home := p.home(ask)
	bound := home != nil && (ask.Bound || ask.Stored != "")
	resting := Resting{For: math.MaxInt64}
	var best *entry
	var least float64
	for i := range p.entries {
		e := &p.entries[i]
		if bound && !e.isOfAccount(home) {
			continue
		}
		if state, until := e.state.resting(ask.Model, now); state != Ready {
			resting.add(state, until.Sub(now))
			continue
		}
		if e == home {
			best = e
			break
		}
		if used := e.state.useNow(now); best == nil || used < least {
			best, least = e, used
		}
	}
	if best == nil {
		return Choice{}, &Resting{resting.For, resting.State}
	}
	best.state.use(1, now)
	if len(p.entries) > 1 && best != home {
		p.settle(ask, best)
	}
	return Choice{Key: best.Key, model: ask.Model, state: best.state}, nil
}

func (r *Resting) add(state State, wait time.Duration) {
	r.For = min(r.For, wait)
	switch r.State {
	case "", state:
		r.State = state
	default:
		r.State = Limited
	}
}

func (e *entry) isOfAccount(other *entry) bool {
	return e == other || e.Account != "" && e.Account == other.Account
}

// placeOf returns where the key of a session, or of what is stored, is remembered. Clients choose the ids: without the seed,
// nobody can find two that are remembered in one place.
func (k *known) placeOf(kind, id string) uint64 { return maphash.String(k.seed, kind+id) }

// home returns the key of an earlier round, of what a request continues, or of its session. It returns nil if none is known,
// or the key is gone.
func (p *Pool) home(ask Ask) *entry {
	if len(p.entries) < 2 {
		return nil
	}
	if at := p.entryOf(ask.Home); at != nil {
		return at
	}
	for _, place := range [...]struct{ kind, id string }{{"stored ", ask.Stored}, {"session ", ask.Session}} {
		if place.id == "" {
			continue
		}
		id, ok := p.known.homes.Get(p.known.placeOf(place.kind, place.id))
		for i := range p.entries {
			if ok && p.entries[i].id == id {
				return &p.entries[i]
			}
		}
	}
	return nil
}

// settle makes a key the home of a request's session and of what it continues.
func (p *Pool) settle(ask Ask, e *entry) {
	if ask.Session != "" {
		p.known.homes.Add(p.known.placeOf("session ", ask.Session), e.id)
	}
	if ask.Stored != "" {
		p.known.homes.Add(p.known.placeOf("stored ", ask.Stored), e.id)
	}
}

// Stores notes that what a provider stored under this id belongs to the account of a key.
func (p *Pool) Stores(choice Choice, id string) {
	if len(p.entries) < 2 || id == "" {
		return
	}
	p.known.mu.Lock()
	defer p.known.mu.Unlock()
	if at := p.entryOf(choice); at != nil {
		p.known.homes.Add(p.known.placeOf("stored ", id), at.id)
	}
}

// entryOf returns the key of a choice, or nil if it is none of the pool.
func (p *Pool) entryOf(choice Choice) *entry {
	for i := range p.entries {
		if choice.state != nil && p.entries[i].state == choice.state {
			return &p.entries[i]
		}
	}
	return nil
}

// Answer is the beginning of an answer.
type Answer struct {
	Status int
	Header http.Header
	// Body is the beginning of the body, as far as it is known and without its content coding. It is read only for a
	// status for which [ReadsBody] says so.
	Body []byte
}

// Verdict is what an answer says of the key.
type Verdict struct {
	// Refused says that the key was refused, not the request: the key rests, and the request was not worked on.
	Refused bool
	// New says that the key did not rest before: somebody should be told.
	New   bool
	State State
	For   time.Duration // How long the key rests.
}

// Judge notes what an answer says of the key that was chosen for its request.
func (p *Pool) Judge(choice Choice, answer Answer) Verdict {
	now := time.Now()
	found := find(answer, now)
	k := p.known
	k.mu.Lock()
	defer k.mu.Unlock()
	s := choice.state
	if answer.Status >= http.StatusUnauthorized {
		s.use(failureCost, now)
	}
	verdict := Verdict{Refused: true, State: found.state}
	switch found.state {
	case Limited:
		verdict.New = s.limited(choice.model, found.wait, now)
	case Unauthorized, Dead:
		verdict.New = s.all.begin(found.state, found.wait, now)
	default:
		if answer.Status < http.StatusBadRequest {
			s.works(choice.model, now)
		}
		return Verdict{State: Ready}
	}
	_, until := s.resting(choice.model, now)
	verdict.For = until.Sub(now)
	return verdict
}

// Rests returns how long the key that was chosen for a request will rest for its model; zero: it is ready.
func (p *Pool) Rests(choice Choice) time.Duration {
	p.known.mu.Lock()
	defer p.known.mu.Unlock()
	now := time.Now()
	state, until := choice.state.resting(choice.model, now)
	if state == Ready {
		return 0
	}
	return until.Sub(now)
}

// Failed notes that a request with a key had no answer.
func (p *Pool) Failed(choice Choice) {
	p.known.mu.Lock()
	defer p.known.mu.Unlock()
	choice.state.use(failureCost, time.Now())
}

// FailedOver counts a request that goes to another key.
func (p *Pool) FailedOver() {
	p.known.mu.Lock()
	defer p.known.mu.Unlock()
	p.known.failovers++
}

// Failovers returns how many requests went to another key of the provider, over all its pools.
func (p *Pool) Failovers() uint64 {
	p.known.mu.Lock()
	defer p.known.mu.Unlock()
	return p.known.failovers
}

// Count returns how many keys of the pool are in each state.
func (p *Pool) Count() map[State]int {
	counts := map[State]int{}
	p.known.mu.Lock()
	defer p.known.mu.Unlock()
	now := time.Now()
	for _, e := range p.entries {
		counts[e.state.status(now).State]++
	}
	return counts
}
