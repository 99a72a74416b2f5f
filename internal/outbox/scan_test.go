package outbox

import (
	"bytes"
	"fmt"
	"testing"
)

// TestScannerLargeDamage has frames within large ones that are damaged, and in places that are no frames at all.
func TestScannerLargeDamage(t *testing.T) {
	const salt = 7
	var (
		content []byte
		want    []string
	)
	for n := range 4 {
		content = append(content, "no frame"...)
		var inside []byte
		for i := range 600 {
			entry := fmt.Sprint(n, i)
			want = append(want, entry)
			inside = append(appendFrame(inside, salt, Entry, 0, []byte(entry)), bytes.Repeat([]byte("."), 1000)...)
		}
		start := len(content)
		content = appendFrame(content, salt, Entry, 0, inside)
		content[start+8]++ // Its CRC.
	}
	s := &scanner{file: bytes.NewReader(content), salt: salt}
	var got []string
	for {
		f, found := s.next(int64(len(content)))
		if !found {
			break
		}
		got = append(got, string(f.payload))
	}
	checkEntries(t, got, want)
	if cap(s.buffer) > 4*scanBytes {
		t.Errorf("%d bytes are kept", cap(s.buffer))
	}
}
