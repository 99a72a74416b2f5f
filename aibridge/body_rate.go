package aibridge

import "time"

const (
	// leastBodyRate is how many bytes a second a client must send of its body, on average, once leastBodyRateAfter has
	// passed.
	leastBodyRate      = 240
	leastBodyRateAfter = 10 * time.Second
	// bodySlack is how far a client may be behind that rate, since what it sends comes in pieces.
	bodySlack = 5 * time.Second
)

// bodyRate says until when a client may take to send more of its body. Without a lowest rate, a client could hold a
// request for days with a byte now and then.
type bodyRate struct {
	idle    time.Duration // The longest pause, however much came before it.
	began   time.Time
	covered time.Time // Until when the bytes that came are enough.
}

func newBodyRate(now time.Time, idle time.Duration) bodyRate {
	return bodyRate{idle: idle, began: now, covered: now.Add(bodySlack)}
}

// add counts bytes that came. What came fast covers a pause of idle at most, not a slow rest.
func (r *bodyRate) add(now time.Time, n int) {
	r.covered = earlier(r.covered.Add(time.Duration(n)*time.Second/leastBodyRate), now.Add(r.idle))
}

// deadline returns until when more must come.
func (r *bodyRate) deadline(now time.Time) time.Time {
	deadline := r.began.Add(leastBodyRateAfter)
	if r.covered.After(deadline) {
		deadline = r.covered
	}
	return earlier(deadline, now.Add(r.idle))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
