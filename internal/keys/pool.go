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
	// Seals are those of what the request has that may belong to an account: see [Pool.Seal]. The first one that is known
	// decides.
	Seals []Seal
	// Home is the key that an earlier round of the same request was served with. The zero Choice: there was none.
	Home Choice
	// Bound says that the request has something that belongs to an account: to that of Home, of its seals or, if neither is
	// known, of its session.
	Bound bool
	// Elsewhere are keys that the request was sent with before, whose accounts do not know what it continues.
	Elsewhere []Choice
}

// Seal identifies a text that belongs to one account, such as what a provider has encrypted for it. It is a digest.
type Seal uint64

// Choice is the key that was chosen for a request.
type Choice struct {
	Key

	model string
	state *state
	known bool // It is of the account that what the request continues is known to belong to.
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
	home, known := p.home(ask)
	bound := home != nil && (known || ask.Bound || ask.Stored != "")
	resting := Resting{For: math.MaxInt64}
	var best *entry
	var least float64
	for i := range p.entries {
		e := &p.entries[i]
		if bound && !e.isOfAccount(home) || p.isElsewhere(e, ask.Elsewhere) {
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
	if len(p.entries) > 1 && best != home && ask.Session != "" {
		k.homes.Add(k.placeOf("session ", ask.Session), best.id)
	}
	return Choice{Key: best.Key, model: ask.Model, state: best.state, known: known}, nil
}

// isElsewhere reports whether a key is of the account of one of the choices.
func (p *Pool) isElsewhere(e *entry, elsewhere []Choice) bool {
	for _, choice := range elsewhere {
		if other := p.entryOf(choice); other != nil && e.isOfAccount(other) {
			return true
		}
	}
	return false
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

// home returns the key of an earlier round, of what a request continues or has, or of its session, and whether it is known
// that what the request has belongs to that key's account. It returns nil if no key is known, or if it is gone.
func (p *Pool) home(ask Ask) (home *entry, known bool) {
	if len(p.entries) < 2 {
		return nil, false
	}
	if at := p.entryOf(ask.Home); at != nil {
		return at, ask.Bound
	}
	if ask.Stored != "" {
		if at := p.at(p.known.placeOf("stored ", ask.Stored)); at != nil {
			return at, true
		}
	}
	for _, seal := range ask.Seals {
		if at := p.at(uint64(seal)); at != nil {
			return at, true
		}
	}
	if ask.Session == "" {
		return nil, false
	}
	at := p.at(p.known.placeOf("session ", ask.Session))
	if at != nil && p.isElsewhere(at, ask.Elsewhere) {
		at = nil
	}
	return at, false
}

// at returns the key that is remembered at a place, or nil.
func (p *Pool) at(place uint64) *entry {
	id, ok := p.known.homes.Get(place)
	for i := range p.entries {
		if ok && p.entries[i].id == id {
			return &p.entries[i]
		}
	}
	return nil
}

// Seal returns the seal of a text that belongs to an account, such as what a provider has encrypted for it.
func (p *Pool) Seal(text []byte) Seal { return Seal(maphash.Bytes(p.known.seed, text)) }

// SealOf returns the seal of the id of what a provider has stored.
func (p *Pool) SealOf(id string) Seal { return Seal(p.known.placeOf("stored ", id)) }

// Stores notes that what a provider stored under this id belongs to the account of a key.
func (p *Pool) Stores(choice Choice, id string) {
	if id != "" {
		p.Sealed(choice, p.SealOf(id))
	}
}

// Sealed notes that what has a seal belongs to the account of a key.
func (p *Pool) Sealed(choice Choice, seal Seal) {
	if len(p.entries) < 2 {
		return
	}
	p.known.mu.Lock()
	defer p.known.mu.Unlock()
	if at := p.entryOf(choice); at != nil {
		p.known.homes.Add(uint64(seal), at.id)
	}
}

// Took notes that a request was taken: what it continues or has, and nobody knew about, belongs to the account of the key that
// it was sent with.
func (p *Pool) Took(choice Choice, ask Ask) {
	p.Stores(choice, ask.Stored)
	if choice.known || !ask.Bound {
		return
	}
	for _, seal := range ask.Seals {
		p.Sealed(choice, seal)
	}
}

// mostElsewhere is how many accounts are asked at most for what a request continues.
const mostElsewhere = 8

// ChooseElsewhere chooses a key of another account, after an answer that says that the account of choice does not know what the
// request continues or has. It returns what was asked, and false if the answer does not say that, if it is known that it must be
// that account, or if no key of another one is ready.
func (p *Pool) ChooseElsewhere(ask Ask, choice Choice, answer Answer) (Ask, Choice, bool) {
	if len(p.entries) < 2 || choice.known || ask.Stored == "" && !ask.Bound || len(ask.Elsewhere) >= mostElsewhere-1 || !isOfAnotherAccount(answer) {
		return ask, choice, false
	}
	ask.Elsewhere = append(ask.Elsewhere[:len(ask.Elsewhere):len(ask.Elsewhere)], choice)
	next, err := p.Choose(ask)
	return ask, next, err == nil
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
	if answer.Status >= http.StatusUnauthorized && answer.Status != http.StatusNotFound {
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
