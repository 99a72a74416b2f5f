package observe

import "sync"

// MostHeld is how many bytes of copies are usually held until they are on disk.
const MostHeld = 256 << 20

// budget is the memory that copies of bodies may use until they are on disk. It is safe for concurrent use.
type budget struct {
	mu   sync.Mutex // guards left.
	left int
}

// take takes up to n bytes, and returns how many.
func (b *budget) take(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, b.left)
	b.left -= n
	return n
}

// takeAll takes n bytes, or none.
func (b *budget) takeAll(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

func (b *budget) release(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}
