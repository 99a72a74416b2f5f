package wire

import "github.com/coder/aibridged/internal/jsonedit"

// Last returns how many elements there are, and the last one, or nil.
func Last(all jsonedit.Array) (n int, last []byte) {
	if n = all.Len(); n == 0 {
		return 0, nil
	}
	return n, all.At(n - 1)
}
