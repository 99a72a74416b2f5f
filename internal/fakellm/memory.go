package fakellm

import "sync"

// Limits of what a server remembers. What is older is forgotten, as if another server had said it.
const (
	maxStored      = 1000
	maxStoredBytes = 64 << 20
	maxKnownIDs    = 20_000
)

// memory is what a server knows of its own answers. The zero value is empty. It is safe for concurrent use.
type memory struct {
	mu     sync.Mutex
	stored recent[storedResponse] // By the id of a response or of a conversation.
	bytes  int                    // Of what is stored.
	before recent[[]string]       // By the id of a call or of an item: the signatures or the items that came before it in its answer.
}

// storedResponse is a response that can be continued. The messages are all that came before, and the response.
type storedResponse struct {
	messages []utterance
	size     int
}

// store keeps a response under its id.
func (m *memory) store(id string, r storedResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += r.size - m.stored.of[id].size
	m.stored.put(id, r)
	for len(m.stored.order) > maxStored || m.bytes > maxStoredBytes {
		m.bytes -= m.stored.dropOldest().size
	}
}

// find returns a response that was stored.
func (m *memory) find(id string) (storedResponse, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.stored.of[id]
	return r, ok
}

// note keeps what came before a call or an item.
func (m *memory) note(id string, before []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before.put(id, before)
	for len(m.before.order) > maxKnownIDs {
		m.before.dropOldest()
	}
}

// cameBefore returns what note has kept.
func (m *memory) cameBefore(id string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.before.of[id]
}

// recent is a map that knows the order in which its keys came.
type recent[V any] struct {
	of    map[string]V
	order []string
}

func (r *recent[V]) put(key string, value V) {
	if r.of == nil {
		r.of = map[string]V{}
	}
	if _, known := r.of[key]; !known {
		r.order = append(r.order, key)
	}
	r.of[key] = value
}

func (r *recent[V]) dropOldest() V {
	oldest := r.order[0]
	dropped := r.of[oldest]
	delete(r.of, oldest)
	r.order = r.order[1:]
	return dropped
}
