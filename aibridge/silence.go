package aibridge

import (
	"bytes"
	"time"
)

// longestSilence is how long the client of a stream hears nothing from an upstream that sends no pings. Copilot has been seen
// to hold the arguments of a tool call back for five minutes, after which clients leave.
const longestSilence = 15 * time.Second

// pings reports whether the gateway keeps the client's stream alive, since the upstream does not.
func (r *round) pings() bool {
	return r.pinging != nil && r.isStream && (r.joint != nil || !isCoded(r.coding))
}

// breakSilence sends what keeps the client's stream alive, unless the client has the beginning of an event, or nothing yet.
func (x *relay) breakSilence(round *round) error {
	switch {
	case !x.sent.isBetweenEvents():
		return nil
	case round.joint != nil:
		return x.ping()
	}
	return x.write(round.ping)
}

// sentEnd is the last bytes that a client has got of a stream. The zero value is nothing.
type sentEnd struct{ last []byte }

// add notes what the client gets.
func (s *sentEnd) add(piece []byte) {
	s.last = append(s.last, piece[max(0, len(piece)-longestEventEnd):]...)
	s.last = append(s.last[:0], s.last[max(0, len(s.last)-longestEventEnd):]...)
}

// longestEventEnd is the length of the longest end of an event: two line ends of two bytes.
const longestEventEnd = 4

func (s *sentEnd) isBetweenEvents() bool {
	for _, end := range [...]string{"\n\n", "\r\n\r\n", "\r\r"} {
		if bytes.HasSuffix(s.last, []byte(end)) {
			return true
		}
	}
	return false
}
