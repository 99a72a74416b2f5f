package memory

// Share counts what one user takes of a pool, so that it can be given back at once. It is not safe for concurrent use. A
// nil *Share has no limit.
type Share struct {
	pool  *Pool
	taken int64
}

// Share returns an empty share of the pool. It must be closed.
func (p *Pool) Share() *Share { return &Share{pool: p} }

// Take counts n bytes as used. It fails with [ErrExhausted] or [ErrNever].
func (s *Share) Take(n int64) error {
	if s == nil {
		return nil
	}
	if err := s.pool.Take(n); err != nil {
		return err
	}
	s.taken += n
	return nil
}

// Close gives back what was taken.
func (s *Share) Close() {
	if s != nil {
		s.pool.Give(s.taken)
		s.taken = 0
	}
}
