package aibridge

import "time"

// Limits bounds what a request may take. The zero value of each field means its default.
type Limits struct {
	// RequestBody is the largest request body, in bytes: 32 MiB. A larger one is refused with 413.
	RequestBody int64
	// RequestBodyIdle is how long a client may pause while it sends its body: 30 s. Beside this, after 10 s a body must
	// have come at 240 bytes a second on average, and what comes faster makes up for one such pause at most.
	RequestBodyIdle time.Duration
	// Dial and TLSHandshake bound the making of a connection to the upstream: 10 s each.
	Dial         time.Duration
	TLSHandshake time.Duration
	// ResponseHeader is how long an upstream may take to begin its answer: 10 minutes, since a blocking answer begins
	// when it is complete.
	ResponseHeader time.Duration
	// Idle is how long an upstream may be silent within its answer: 5 minutes, which is how long clients wait. Any byte counts.
	Idle time.Duration
	// Write is how long a client may take to accept a write: 30 s.
	Write time.Duration
}

func (l Limits) withDefaults() Limits {
	l.RequestBody = orDefault(l.RequestBody, 32<<20)
	l.RequestBodyIdle = orDefault(l.RequestBodyIdle, 30*time.Second)
	l.Dial = orDefault(l.Dial, 10*time.Second)
	l.TLSHandshake = orDefault(l.TLSHandshake, 10*time.Second)
	l.ResponseHeader = orDefault(l.ResponseHeader, 10*time.Minute)
	l.Idle = orDefault(l.Idle, 5*time.Minute)
	l.Write = orDefault(l.Write, 30*time.Second)
	return l
}

func orDefault[T int64 | time.Duration](value, fallback T) T {
	if value > 0 {
		return value
	}
	return fallback
}
