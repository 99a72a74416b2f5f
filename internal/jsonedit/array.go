package jsonedit

import "bytes"

// Array is the elements of a JSON array, as they are written in the body, in their order. It shares memory with the body
// and is safe for concurrent use. The zero Array has no elements.
type Array struct {
	body   []byte
	starts []uint32 // The offset of the beginning of each element, and then that of the closing bracket.
}

// Len returns the number of elements.
func (a Array) Len() int { return max(len(a.starts)-1, 0) }

// At returns the element at position i, which is at least 0 and below Len.
func (a Array) At(i int) []byte {
	start, end := a.starts[i], a.starts[i+1]
	// Only a comma and white space lie between two elements, and no value ends in these.
	return bytes.TrimRight(a.body[start:end:end], ", \t\r\n")
}
