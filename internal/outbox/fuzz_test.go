package outbox

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const fuzzSalt = 0x2a2a2a2a

// FuzzScanner checks, for any content of a file, that what is read from it are frames that are in it, in their order
// and with the right CRC, and that no frame that lies apart from the others is missed.
func FuzzScanner(f *testing.F) {
	two := appendFrame(appendFrame(nil, fuzzSalt, Entry, 1, []byte("one")), fuzzSalt, resent, 2, nil)
	f.Add(two)
	f.Add(two[3:])
	f.Add(slices.Concat(make([]byte, 50), two, two[:30], two))
	f.Add(appendFrame(nil, fuzzSalt, Entry, 3, two))
	f.Add(slices.Concat(appendFrame(nil, fuzzSalt, Head, 3, []byte("head")), two, appendFrame(nil, fuzzSalt, Head, 3, nil)))
	f.Add(slices.Concat(appendFrame(nil, fuzzSalt, resent+1, 3, []byte("of no kind")), two))
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
			if !slices.Contains([]Kind{Entry, Head, resent}, frame.kind) {
				t.Fatalf("a frame of kind %d", frame.kind)
			}
			if !bytes.Equal(content[frame.offset:frame.end()], appendFrame(nil, fuzzSalt, frame.kind, frame.at, frame.payload)) {
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

// isFrame is a second, independent definition of a frame.
func isFrame(b []byte) bool {
	if len(b) < frameOverhead {
		return false
	}
	kind, length := Kind(b[3]>>4), int(binary.LittleEndian.Uint32(b)&0x0fffffff)
	if length < stampBytes || length > len(b)-frameHeaderBytes {
		return false
	}
	at := int64(binary.LittleEndian.Uint64(b[frameHeaderBytes:]))
	again := appendFrame(nil, fuzzSalt, kind, at, b[frameOverhead:frameHeaderBytes+length])
	return slices.Contains([]Kind{Entry, Head, resent}, kind) && bytes.Equal(again, b[:len(again)])
}

// FuzzDamage checks that overwriting a stretch of a directory's files costs the entries and heads that it hit, and no
// others, neither for the receiver nor for the owner. The last file may end in zeros.
func FuzzDamage(f *testing.F) {
	l, frames := writtenFrames(f)
	killed, _ := withZeros(l)
	f.Add(uint(0), uint(20), []byte("damage"), false)
	f.Add(uint(1), uint(0), make([]byte, 200), true)
	f.Add(uint(1), uint(30), []byte{1}, false)
	f.Add(uint(2), uint(segmentHeaderBytes), []byte("head"), true)
	f.Add(uint(2), uint(200), []byte("among zeros"), true)
	f.Fuzz(func(t *testing.T, segment, at uint, damage []byte, zeros bool) {
		l := l
		if zeros {
			l = killed
		}
		name := l.segments[segment%uint(len(l.segments))]
		content := bytes.Clone(l.content[name])
		begin := int(at % uint(len(content)))
		end := begin + copy(content[begin:], damage)
		if version, ok := segmentVersion(content); ok && version != formatVersion {
			return
		}
		var delivered, want []string
		for _, frame := range frames {
			if frame.segment == name && !bytes.Equal(content[frame.begin:frame.end], l.content[name][frame.begin:frame.end]) {
				continue
			}
			if frame.kind != Head {
				delivered = append(delivered, frame.payload)
			}
			if frame.kind != resent {
				want = append(want, frame.payload)
			}
		}
		var got []string
		l.observe = func(_ Kind, entry []byte) { got = append(got, string(entry)) }
		sent, _ := l.open(t, t.TempDir(), name, content)
		if !slices.Equal(sent, delivered) {
			t.Errorf("bytes %d to %d of %s: delivered %q, want %q", begin, end, name, sent, delivered)
		}
		if want = append(want, "new"); !slices.Equal(got, want) {
			t.Errorf("bytes %d to %d of %s: observed %q, want %q", begin, end, name, got, want)
		}
	})
}

// writtenFrame is a frame as it lies in a layout.
type writtenFrame struct {
	segment    string
	begin, end int
	kind       Kind
	payload    string
}

// writtenFrames returns a layout with frames of all kinds, and where they are.
func writtenFrames(tb testing.TB) (layout, []writtenFrame) {
	tb.Helper()
	dir := tb.TempDir()
	q := mustOpen(tb, dir, Options{files: quick{}, SegmentBytes: 150, ReserveBytes: 1, Head: counted()})
	for n, entry := range []string{"one", "", "a longer entry than the others", "four", "five", "six"} {
		kind := Entry
		if n%3 == 2 {
			kind = resent
		}
		if _, err := q.add(addition{entries: [][]byte{[]byte(entry)}, kind: kind}); err != nil {
			tb.Fatal(err)
		}
	}
	mustClose(tb, q)
	l := readLayout(tb, dir)
	var frames []writtenFrame
	for _, name := range l.segments {
		s := &scanner{file: bytes.NewReader(l.content[name]), salt: parseSegmentName(name).salt, offset: segmentHeaderBytes}
		for {
			frame, found := s.next(int64(len(l.content[name])))
			if !found {
				break
			}
			frames = append(frames, writtenFrame{name, int(frame.offset), int(frame.end()), frame.kind, string(frame.payload)})
		}
	}
	if len(frames) != 6+len(l.segments) || len(l.segments) < 2 {
		tb.Fatalf("%d frames in %q", len(frames), l.segments)
	}
	return l, frames
}

// FuzzOpen checks that no content of a segment, a cursor or a dead record keeps a queue from starting, but for a segment
// of a newer version; that what is appended afterwards is delivered; and that the owner was told of everything that is
// delivered, except what was dead.
func FuzzOpen(f *testing.F) {
	l := written(f, 0, "one", "two")
	dead := []byte(`{"version":1,"reason":"no","bytes":4,"crc32c":0}` + "\nfour")
	f.Add(l.content[l.segments[0]], l.cursor, dead)
	f.Add([]byte("short"), []byte("short"), []byte("short"))
	flagged := appendFrame(appendFrame(segmentHeader(formatVersion), fuzzSalt, Head, 1, []byte("head")), fuzzSalt, resent, 2, []byte("dead"))
	f.Add(appendFrame(flagged, fuzzSalt, Entry, 3, []byte("entry")), []byte(nil), dead)
	f.Fuzz(func(t *testing.T, segment, cursor, dead []byte) {
		dir := t.TempDir()
		mustClose(t, mustOpen(t, dir, Options{files: quick{}, ReserveBytes: 1}))
		writeFile(t, filepath.Join(dir, "000000000009-2a2a2a2a.log"), segment)
		writeFile(t, filepath.Join(dir, "cursor"), cursor)
		writeFile(t, filepath.Join(dir, "retry", "0-0.rec"), dead)
		known := map[string]bool{"": true} // What the owner was told, and what was dead.
		if opened, err := (disk{}).Open(filepath.Join(dir, "retry", "0-0.rec"), os.O_RDONLY); err == nil {
			entry, _ := readDead(opened) // Nothing, if it is damaged.
			known[string(entry)] = true
			_ = opened.Close()
		}
		for s := (&scanner{file: bytes.NewReader(segment), salt: fuzzSalt}); s.offset < int64(len(segment)); {
			if frame, found := s.next(int64(len(segment))); found && frame.kind == resent {
				known[string(frame.payload)] = true
			}
		}
		options := Options{files: quick{}, ReserveBytes: 1, Head: func() []byte { return []byte("head") }}
		options.Observe = func(kind Kind, entry []byte) {
			if kind == Entry {
				known[string(entry)] = true
			}
		}
		q, err := Open(dir, options)
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
		got := drain(t, q)
		if len(got) == 0 || got[len(got)-1] != "new" {
			t.Errorf("got %q", got)
		}
		for _, entry := range got {
			if !known[entry] {
				t.Errorf("%q is delivered and the owner was not told", entry)
			}
		}
		mustClose(t, q)
	})
}
