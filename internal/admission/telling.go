package admission

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// tellEvery is how often it is told that requests of a user are refused, and how many.
const tellEvery = time.Minute

// Tell tells how many requests of a user have met a limit that nobody was told of. It may be called later, from another
// goroutine.
type Tell func(limit Limit, refused int)

// Telling tells of requests that were refused: of the first one of a user, and then at the end of each minute in which there
// were more. It is safe for concurrent use. The zero Telling is ready.
type Telling struct {
	mu    sync.Mutex
	users *simplelru.LRU[string, *told] // Those of whom it was told in the last minute, or a little longer ago. Nil: none. Guarded by mu.
}

// told is what is known of one user. The mutex of the telling guards it.
type told struct {
	refused map[Limit]int // How many requests, since it was told. Nil: it was not told in the last minute.
}

// Refused notes that a request of a user was refused.
func (t *Telling) Refused(name string, limit Limit, tell Tell) {
	if t.note(name, limit, tell) {
		tell(limit, 1)
	}
}

// note reports whether it is to be told at once.
func (t *Telling) note(name string, limit Limit, tell Tell) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.users == nil {
		users, err := simplelru.NewLRU[string, *told](mostUsers, nil)
		if err != nil {
			panic(err) // The size is above zero.
		}
		t.users = users
	}
	u, ok := t.users.Get(name)
	if !ok {
		u = &told{}
		t.users.Add(name, u)
	}
	if u.refused != nil {
		u.refused[limit]++
		return false
	}
	u.refused = map[Limit]int{}
	time.AfterFunc(tellEvery, func() { t.tellRest(u, tell) })
	return true
}

// tellRest tells, at the end of a minute, of the refusals in it. If there were some, it looks again in a minute.
func (t *Telling) tellRest(u *told, tell Tell) {
	t.mu.Lock()
	rest := u.refused
	u.refused = nil
	if len(rest) > 0 {
		u.refused = map[Limit]int{}
		time.AfterFunc(tellEvery, func() { t.tellRest(u, tell) })
	}
	t.mu.Unlock()
	for _, limit := range slices.Sorted(maps.Keys(rest)) {
		tell(limit, rest[limit])
	}
}
