package aibridge

import (
	"encoding/binary"
	"sync"

	"github.com/google/uuid"
)

// backgroundID returns the id of a background response. Every gateway computes the same one, so that the records of the
// response, whichever gateway makes them, find the interception that began it.
func backgroundID(provider, response string) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte("background response\x00"+provider+"\x00"+response))
}

// backgroundRecordID returns the id of the record number n of that kind of what a background response did. Every
// gateway computes the same one each time that it reads the response, so that each record is stored once. The ids of
// one kind sort by their numbers.
func backgroundRecordID(background uuid.UUID, kind string, n int) uuid.UUID {
	id := uuid.NewSHA1(background, []byte(kind))
	binary.BigEndian.PutUint32(id[12:], uint32(n))
	return id
}

// mostBackground is how many background responses a gateway remembers.
const mostBackground = 10_000

// backgroundResponses remembers which interceptions began the latest background responses, and which of the responses
// are recorded. A control plane that knows the ids above needs none of this: it is for one that does not, and saves the
// others records that they have. It is safe for concurrent use; the zero value is empty and ready.
type backgroundResponses struct {
	mu    sync.Mutex
	known map[uuid.UUID]backgroundResponse // Guarded by mu.
	order []uuid.UUID                      // Guarded by mu; the keys of known. Once it is full, the oldest is at next.
	next  int                              // Guarded by mu.
}

// backgroundResponse is what is known of one response.
type backgroundResponse struct {
	interception uuid.UUID // Zero: not known here.
	recorded     bool
}

// has reports whether anything is known of a response.
func (b *backgroundResponses) has(id uuid.UUID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.known[id]
	return ok
}

// set notes what is known of a response.
func (b *backgroundResponses) set(id uuid.UUID, response backgroundResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setLocked(id, response)
}

func (b *backgroundResponses) setLocked(id uuid.UUID, response backgroundResponse) {
	if _, ok := b.known[id]; !ok {
		if b.known == nil {
			b.known = make(map[uuid.UUID]backgroundResponse)
		}
		if len(b.order) < mostBackground {
			b.order = append(b.order, id)
		} else {
			delete(b.known, b.order[b.next])
			b.order[b.next] = id
			b.next = (b.next + 1) % mostBackground
		}
	}
	b.known[id] = response
}

// claim returns what is known of a response, and notes that it is recorded: the caller records it now. If that fails,
// the caller sets what claim returned.
func (b *backgroundResponses) claim(id uuid.UUID) backgroundResponse {
	b.mu.Lock()
	defer b.mu.Unlock()
	response := b.known[id]
	b.setLocked(id, backgroundResponse{response.interception, true})
	return response
}

// rememberBackground notes the background response that the interception began, if it did.
func (i *interception) rememberBackground() {
	for _, round := range i.rounds {
		if id := i.background(round); id != uuid.Nil {
			i.bridge.providers.background.set(id, backgroundResponse{interception: i.id, recorded: !i.goesOn(round)})
		}
	}
}
