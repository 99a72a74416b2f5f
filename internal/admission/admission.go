// Package admission limits how many requests are served at a time and in a minute, in all and for each user.
//
//	gate := admission.New(admission.Limits{UserPerMinute: 60})
//	pass, err := gate.Enter(user, tell) // A *[Refusal] error says how long to wait.
//	defer pass.Leave()
//
// It makes nobody wait: what is beyond a limit is refused. Tell is called for the first refusal of a user, and then at the end
// of each minute in which there were more.
package admission

import (
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// Limits are the limits. Zero means none.
type Limits struct {
	Concurrent     int // Requests at a time.
	PerMinute      int // Requests in a minute. As many may come at once.
	UserConcurrent int // The same for each user.
	UserPerMinute  int
}

const (
	// mostUsers is how many users are remembered. Of a user who is forgotten, the one who came last the longest ago, the
	// requests that still run and those of the last minute no longer count.
	mostUsers = 10_000
	// retryBusy is how long a request is to wait that is refused because too many are being served.
	retryBusy = time.Second
)

// Gate lets requests in. It is safe for concurrent use. A nil Gate lets all in.
type Gate struct {
	limits  Limits
	telling Telling

	mu       sync.Mutex
	serving  int // Guarded by mu, like the fields below.
	rate     *rate.Limiter
	users    *simplelru.LRU[string, *user]
	refusals map[Limit]uint64
}

// user is what is known of one user. The mutex of the gate guards it.
type user struct {
	serving int
	rate    *rate.Limiter
}

// New returns a gate, or nil if there are no limits.
func New(limits Limits) *Gate {
	if limits == (Limits{}) {
		return nil
	}
	users, err := simplelru.NewLRU[string, *user](mostUsers, nil)
	if err != nil {
		panic(err) // The size is above zero.
	}
	return &Gate{limits: limits, rate: perMinute(limits.PerMinute), users: users, refusals: map[Limit]uint64{}}
}

// perMinute returns a limiter, or nil if there is no limit.
func perMinute(n int) *rate.Limiter {
	if n <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Every(time.Minute/time.Duration(n)), n)
}

// Limit names a limit.
type Limit string

// The limits that a request can meet.
const (
	Concurrent     Limit = "concurrent"
	PerMinute      Limit = "per_minute"
	UserConcurrent Limit = "user_concurrent"
	UserPerMinute  Limit = "user_per_minute"
)

// OfUser reports whether it is a limit of one user.
func (l Limit) OfUser() bool { return l == UserConcurrent || l == UserPerMinute }

// ofConcurrent reports whether it is a limit of requests at a time.
func (l Limit) ofConcurrent() bool { return l == Concurrent || l == UserConcurrent }

// Refusal is the error of a request that is beyond a limit.
type Refusal struct {
	Limit Limit
	// For is how long to wait, above zero.
	For time.Duration
}

// Error implements error.
func (r *Refusal) Error() string { return "beyond the limit " + string(r.Limit) }

// Pass is a request that was let in. The zero Pass is of a nil gate.
type Pass struct {
	gate *Gate
	user *user
}

// Enter lets a request of a user in, or fails with a *[Refusal]. A pass is left with once. Tell is called if it is told for the
// first time in a minute that requests of the user are refused, and later for those that follow.
func (g *Gate) Enter(name string, tell Tell) (Pass, error) {
	if g == nil {
		return Pass{}, nil
	}
	pass, refusal := g.try(name)
	if refusal == nil {
		return pass, nil
	}
	g.refuse(name, refusal.Limit, tell)
	return Pass{}, refusal
}

// try lets a request in or says why not, which counts as a refusal only if refuse is called.
func (g *Gate) try(name string) (Pass, *Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, u := time.Now(), g.user(name)
	if limit, wait := g.met(u, now); limit != "" {
		return Pass{}, &Refusal{Limit: limit, For: wait}
	}
	for _, limiter := range [...]*rate.Limiter{g.rate, u.rate} {
		if limiter != nil {
			limiter.AllowN(now, 1)
		}
	}
	g.serving++
	u.serving++
	return Pass{g, u}, nil
}

// user returns what is known of a user. The caller holds mu.
func (g *Gate) user(name string) *user {
	u, ok := g.users.Get(name)
	if !ok {
		u = &user{rate: perMinute(g.limits.UserPerMinute)}
		g.users.Add(name, u)
	}
	return u
}

// met returns the limit that a request of a user meets, and how long it is to wait; empty: it meets none.
func (g *Gate) met(u *user, now time.Time) (Limit, time.Duration) {
	switch {
	case g.limits.UserConcurrent > 0 && u.serving >= g.limits.UserConcurrent:
		return UserConcurrent, retryBusy
	case g.limits.Concurrent > 0 && g.serving >= g.limits.Concurrent:
		return Concurrent, retryBusy
	}
	if wait := waitFor(u.rate, now); wait > 0 {
		return UserPerMinute, wait
	}
	if wait := waitFor(g.rate, now); wait > 0 {
		return PerMinute, wait
	}
	return "", 0
}

// waitFor returns how long it is until a limiter lets another request in.
func waitFor(limiter *rate.Limiter, now time.Time) time.Duration {
	if limiter == nil {
		return 0
	}
	missing := 1 - limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration(math.Round(missing/float64(limiter.Limit())*1000))*time.Millisecond)
}

// refuse counts a refusal, and tells of it.
func (g *Gate) refuse(name string, limit Limit, tell Tell) {
	g.mu.Lock()
	g.refusals[limit]++
	g.mu.Unlock()
	g.telling.Refused(name, limit, tell)
}

// Leave ends a request that was let in.
func (p Pass) Leave() {
	if p.gate == nil {
		return
	}
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	p.gate.serving--
	p.user.serving--
}

// Refusals returns how many requests met each limit. Those that none met are zero.
func (g *Gate) Refusals() map[Limit]uint64 {
	refusals := map[Limit]uint64{Concurrent: 0, PerMinute: 0, UserConcurrent: 0, UserPerMinute: 0}
	if g == nil {
		return refusals
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for limit, n := range g.refusals {
		refusals[limit] = n
	}
	return refusals
}
