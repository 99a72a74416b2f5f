package keys

import (
	"math"
	"slices"
	"strings"
	"time"
)

// How long a key rests if its answer does not say: the first time, and at most. Each time in a row doubles it.
const (
	firstLimited, longestLimited           = 5 * time.Second, 5 * time.Minute
	firstUnauthorized, longestUnauthorized = 10 * time.Second, 10 * time.Minute
	firstDead, longestDead                 = 10 * time.Minute, time.Hour

	// longestTold is how long a key rests at most, whatever its answer says: after that, it is asked again.
	longestTold = time.Hour
)

// mostModels is how many models of a key are remembered that it rested for. While it rests for two, it rests for all, so
// only what is over is forgotten.
const mostModels = 32

// longestModel is how many bytes of a model's name count.
const longestModel = 256

// usedHalf is the time in which the use of a key counts half.
const usedHalf = time.Minute

// failureCost is how much a request that fails counts as use, in requests. A key whose requests fail at once would
// otherwise seem to be the least used.
const failureCost = 10

// state is what is known of a key. The mutex of its provider guards it.
type state struct {
	all    rest
	models map[string]*rest // By model; "" is a request that names none.

	used   float64 // How many requests it was chosen for lately.
	usedAt time.Time
}

// rest is a time in which a key is not to be asked. It is kept when it is over, until an answer shows that the key works:
// the next one is longer then.
type rest struct {
	state State
	since time.Time
	until time.Time
	times int // In a row.
}

func (r *rest) isOn(now time.Time) bool { return now.Before(r.until) }

// begin makes the key rest. If the answer did not say for how long, wait is zero. It reports whether the key did not rest
// before: many requests may be on their way when a key is refused for the first time.
func (r *rest) begin(state State, wait time.Duration, now time.Time) bool {
	first := !r.isOn(now) || r.state != state
	if first {
		r.times++
		r.since = now
		r.until = time.Time{}
	}
	if wait <= 0 {
		wait = pause(state, r.times)
	}
	r.state = state
	if until := now.Add(min(wait, longestTold)); until.After(r.until) {
		r.until = until
	}
	return first
}

// pause returns how long a key rests that was refused so many times in a row.
func pause(state State, times int) time.Duration {
	first, longest := firstLimited, longestLimited
	switch state {
	case Unauthorized:
		first, longest = firstUnauthorized, longestUnauthorized
	case Dead:
		first, longest = firstDead, longestDead
	}
	for ; times > 1 && first < longest; times-- {
		first *= 2
	}
	return min(first, longest)
}

// resting returns until when the key rests for a model, and in which state; the state is Ready if it does not.
func (s *state) resting(model string, now time.Time) (State, time.Time) {
	state, until := Ready, time.Time{}
	for _, r := range [...]*rest{&s.all, s.models[model]} {
		if r != nil && r.isOn(now) && r.until.After(until) {
			state, until = r.state, r.until
		}
	}
	return state, until
}

// limited makes the key rest for a model, and for all if it then rests for two that have names.
func (s *state) limited(model string, wait time.Duration, now time.Time) bool {
	of := s.models[model]
	if of == nil {
		if len(s.models) >= mostModels {
			s.forget(now)
		}
		if s.models == nil {
			s.models = map[string]*rest{}
		}
		of = &rest{}
		s.models[strings.Clone(model)] = of // It may be a part of a whole body.
	}
	first := of.begin(Limited, wait, now)
	named := 0
	for name, r := range s.models {
		if name != "" && r.isOn(now) {
			named++
		}
	}
	if named >= 2 && (!s.all.isOn(now) || s.all.state == Limited) {
		s.all.begin(Limited, wait, now)
	}
	return first
}

// works notes an answer that shows that the key works for a model. A request may have been sent before the key was
// refused, so it does not end a rest that is on.
func (s *state) works(model string, now time.Time) {
	if !s.all.isOn(now) {
		s.all = rest{}
	}
	if of := s.models[model]; of != nil && !of.isOn(now) {
		delete(s.models, model)
	}
}

// forget forgets the models for which the key no longer rests or, if there are none, all: it then rests for all, since two
// are refused.
func (s *state) forget(now time.Time) {
	for model, r := range s.models {
		if !r.isOn(now) {
			delete(s.models, model)
		}
	}
	if len(s.models) >= mostModels {
		clear(s.models)
	}
}

// useNow returns how much the key was used lately.
func (s *state) useNow(now time.Time) float64 {
	if s.used == 0 {
		return 0
	}
	return s.used * math.Exp2(-float64(now.Sub(s.usedAt))/float64(usedHalf))
}

func (s *state) use(requests float64, now time.Time) {
	s.used, s.usedAt = s.useNow(now)+requests, now
}

func (s *state) status(now time.Time) Status {
	if s.all.isOn(now) {
		return Status{State: s.all.state, Since: s.all.since, Until: s.all.until}
	}
	status := Status{State: Ready}
	for model, r := range s.models {
		if !r.isOn(now) {
			continue
		}
		if status.State == Ready || r.since.Before(status.Since) {
			status.Since = r.since
		}
		if r.until.After(status.Until) {
			status.Until = r.until
		}
		status.State = r.state
		if model == "" {
			status.Unnamed = true
			continue
		}
		status.Models = append(status.Models, model)
	}
	slices.Sort(status.Models)
	return status
}
