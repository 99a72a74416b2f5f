package outbox

const (
	// aheadBytes is how far a segment is written ahead at a time, and zerosBytes how much of that in one call.
	aheadBytes = 256 << 10
	zerosBytes = 64 << 10
)

// ahead says how far a segment has been written ahead: behind the last frame it holds zeros. A sync of bytes that have
// their place on the disk already is a write to that place; where a file becomes longer, or only has the place promised
// to it, most file systems write their journal too, which takes half as long again.
type ahead struct {
	end int64 // Up to where in the file. Before the end of the frames: there are no zeros.
	off bool  // The disk had no room for it, or failed: this segment grows with its frames.
}

// writeAhead writes zeros to a segment, behind where frames of so many bytes are about to be written, unless there are
// some. It is for the sake of syncs alone: in Kernel, which syncs ten times a second, it does nothing, and where it fails
// nothing is left of it. The caller has q.appending.
func (q *Queue) writeAhead(s *segment, frames int64) {
	begin := s.offset(s.end())
	if s.ahead.off || begin+frames <= s.ahead.end || q.options.Durability != Sync {
		return
	}
	to := min(((begin+frames)/aheadBytes+1)*aheadBytes, segmentHeaderBytes+q.options.SegmentBytes)
	zeros := make([]byte, zerosBytes)
	for at := max(begin, s.ahead.end); at < to; at += zerosBytes {
		if _, err := s.file.WriteAt(zeros[:min(to-at, zerosBytes)], at); err != nil {
			s.ahead = ahead{off: true}
			_ = s.file.Truncate(begin) // Zeros that stay do no harm but for the room they take.
			return
		}
	}
	s.ahead.end = max(s.ahead.end, to)
}

// cutAhead takes back what was written ahead, and reports whether that changed the file. The caller has q.appending.
func (q *Queue) cutAhead(s *segment) bool {
	end := s.offset(s.end())
	if s.ahead.end <= end || s.file.Truncate(end) != nil {
		return false
	}
	s.ahead.end = 0
	return true
}
