package outbox

const (
	// aheadBytes is how far a segment is written ahead at a time, and zerosBytes how much of that in one call.
	aheadBytes = 256 << 10
	zerosBytes = 64 << 10
)

// ahead says how far a segment has been written ahead: behind the last frame it holds zeros. If bytes have their place
// on the disk already, a sync only writes to that place. If the file became longer, or its place was only reserved,
// most file systems write their journal too, which takes half as long again.
type ahead struct {
	end int64 // The offset in the file where the zeros end. If it is before the end of the frames, there are none.
	off bool  // The disk had no room for it, or failed: this segment grows with its frames.
}

// writeAhead writes zeros to a segment where frames of so many bytes are about to be written, and behind them, unless
// there are enough already. Its only purpose is to make syncs faster: in Kernel, which syncs ten times a second, it
// does nothing. If it fails, it cuts the zeros off again. The caller has q.appending.
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
			_ = s.file.Truncate(begin) // If this fails, the zeros only take room.
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
