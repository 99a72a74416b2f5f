package outbox

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"testing"
)

const fuzzSalt = 0x2a2a2a2a

// FuzzScanner holds that whatever a file contains, what is read from it are frames that are in it, in their order and
// with their CRC right, and that none is passed over that lies apart from the others.
func FuzzScanner(f *testing.F) {
	two := appendFrame(appendFrame(nil, fuzzSalt, 1, []byte("one")), fuzzSalt, 2, nil)
	f.Add(two)
	f.Add(two[3:])
	f.Add(slices.Concat(make([]byte, 50), two, two[:30], two))
	f.Add(appendFrame(nil, fuzzSalt, 3, two))
	f.Fuzz(func(t *testing.T, content []byte) {
		limit := int64(len(content))
		s := &scanner{file: bytes.NewReader(content), salt: fuzzSalt}
		last := int64(0)
		for {
			frame, found := s.next(limit)
			if !found {
				break
			}
			if frame.offset < last || frame.end() > limit {
				t.Fatalf("a frame from %d to %d, after %d, before %d", frame.offset, frame.end(), last, limit)
			}
			if !bytes.Equal(content[frame.offset:frame.end()], appendFrame(nil, fuzzSalt, frame.at, frame.payload)) {
				t.Fatalf("what is at %d is not the frame of %q", frame.offset, frame.payload)
			}
			for at := last; at < frame.offset; at++ {
				if isFrame(content[at:]) {
					t.Fatalf("the frame at %d was passed over", at)
				}
			}
			last = frame.end()
		}
		for at := last; at < limit; at++ {
			if isFrame(content[at:]) {
				t.Fatalf("the frame at %d was passed over", at)
			}
		}
		if s.offset != limit {
			t.Errorf("ended at %d of %d", s.offset, limit)
		}
	})
}

// isFrame says again, in other words, what a frame is.
func isFrame(b []byte) bool {
	if len(b) < frameOverhead {
		return false
	}
	length := int(binary.LittleEndian.Uint32(b))
	if length < stampBytes || length > len(b)-frameHeaderBytes {
		return false
	}
	at := int64(binary.LittleEndian.Uint64(b[frameHeaderBytes:]))
	again := appendFrame(nil, fuzzSalt, at, b[frameOverhead:frameHeaderBytes+length])
	return bytes.Equal(again, b[:len(again)])
}

// FuzzDamage holds that overwriting a stretch of a directory's files costs the entries that it hit, and no other.
func FuzzDamage(f *testing.F) {
	entries := []string{"one", "", "a longer entry than the others", "four", "five", "six"}
	l := written(f, 120, entries...)
	f.Add(uint(0), uint(20), []byte("damage"))
	f.Add(uint(1), uint(0), make([]byte, 200))
	f.Add(uint(1), uint(30), []byte{1})
	f.Fuzz(func(t *testing.T, segment, at uint, damage []byte) {
		name := l.segments[segment%uint(len(l.segments))]
		content := bytes.Clone(l.content[name])
		begin := int(at % uint(len(content)))
		end := begin + copy(content[begin:], damage)
		if version, ok := segmentVersion(content); ok && version != formatVersion {
			return
		}
		var want []string
		n := 0
		for _, other := range l.segments {
			for offset := segmentHeaderBytes; offset < len(l.content[other]); n++ {
				next := offset + frameOverhead + len(entries[n])
				if other != name || bytes.Equal(content[offset:next], l.content[other][offset:next]) {
					want = append(want, entries[n])
				}
				offset = next
			}
		}
		got, _ := l.open(t, t.TempDir(), name, content)
		if !slices.Equal(got, want) {
			t.Errorf("bytes %d to %d of %s: got %q, want %q", begin, end, name, got, want)
		}
	})
}

// FuzzOpen holds that no content of a segment, a cursor or a dead record keeps a queue from starting, but for a segment
// of a newer version; and that what is appended afterwards is delivered.
func FuzzOpen(f *testing.F) {
	l := written(f, 0, "one", "two")
	dead := []byte(`{"version":1,"reason":"no","bytes":4,"crc32c":0}` + "\nfour")
	f.Add(l.content[l.segments[0]], l.cursor, dead)
	f.Add([]byte("short"), []byte("short"), []byte("short"))
	f.Fuzz(func(t *testing.T, segment, cursor, dead []byte) {
		dir := t.TempDir()
		mustClose(t, mustOpen(t, dir, Options{files: quick{}}))
		writeFile(t, filepath.Join(dir, "000000000009-2a2a2a2a.log"), segment)
		writeFile(t, filepath.Join(dir, "cursor"), cursor)
		writeFile(t, filepath.Join(dir, "retry", "0-0.rec"), dead)
		q, err := Open(dir, Options{files: quick{}})
		if version, ok := segmentVersion(segment); ok && version > formatVersion {
			if err == nil {
				t.Fatal("opened what a newer version wrote")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, q, "new")
		if got := drain(t, q); len(got) == 0 || got[len(got)-1] != "new" {
			t.Errorf("got %q", got)
		}
		mustClose(t, q)
	})
}
