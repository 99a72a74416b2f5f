package keys

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// dialect is a way in which answers say how long to wait.
type dialect struct {
	header string
	read   func(value string, now time.Time) time.Duration
}

// dialects are the headers that say it, those first that say it the most exactly. The first two are not about limits alone.
var dialects = [...]dialect{
	{"Retry-After-Ms", milliseconds},
	{"Retry-After", retryAfter},
	{"Anthropic-Ratelimit-Unified-Reset", reset},
	{"X-Codex-Primary-Reset-After-Seconds", seconds},
	{"X-Ratelimit-Reset", reset},
}

// waitOf returns how long to wait before a key is asked again that has reached a limit, by the answer's header or else by
// its body. It returns zero if neither says so, or says what cannot be.
func waitOf(header http.Header, body any, now time.Time) time.Duration {
	for _, d := range dialects {
		if wait := d.read(header.Get(d.header), now); wait > 0 {
			return wait
		}
	}
	if wait := resets(header, now); wait > 0 {
		return wait
	}
	return waitIn(body, now)
}

// Passes reports whether an answer refuses a request for a reason that passes, before the request was worked on, so that it can
// be sent again with the same key. It returns how long the answer asks to wait, or zero.
func Passes(answer Answer) (wait time.Duration, passes bool) {
	now := time.Now()
	if answer.Header.Get("X-Should-Retry") == "false" { // Anthropic and OpenAI, for their own SDKs.
		return 0, false
	}
	switch answer.Status {
	case http.StatusTooManyRequests:
		found := find(answer, now)
		return found.wait, found.state == Limited
	case http.StatusServiceUnavailable, statusOverloaded:
		// The other dialects tell of limits, and this is none.
		for _, d := range dialects[:2] {
			if wait := d.read(answer.Header.Get(d.header), now); wait > 0 {
				return wait, true
			}
		}
		return 0, true
	}
	return 0, false
}

// statusOverloaded is how Anthropic says that it is overloaded.
const statusOverloaded = 529

// resets reads headers that tell of each of several limits when it begins anew: x-ratelimit-reset-tokens of OpenAI,
// anthropic-ratelimit-tokens-reset. Those of limits of which nothing remains count, and of these the longest wait; if
// nothing is said to remain of none, the shortest wait of all.
func resets(header http.Header, now time.Time) time.Duration {
	var longest, shortest time.Duration
	for name := range header {
		remaining, isReset := remainingOf(name)
		if !isReset {
			continue
		}
		wait := reset(header.Get(name), now)
		if wait <= 0 {
			continue
		}
		if shortest == 0 || wait < shortest {
			shortest = wait
		}
		if header.Get(remaining) == "0" {
			longest = max(longest, wait)
		}
	}
	if longest > 0 {
		return longest
	}
	return shortest
}

// remainingOf returns the name of the header that tells what remains of a limit, for the name of the header that tells when
// it begins anew.
func remainingOf(name string) (remaining string, isReset bool) {
	if limit, ok := strings.CutPrefix(name, "X-Ratelimit-Reset-"); ok {
		return "X-Ratelimit-Remaining-" + limit, true
	}
	limit, ok := strings.CutSuffix(name, "-Reset")
	if ok && strings.HasPrefix(limit, "Anthropic-Ratelimit-") {
		return limit + "-Remaining", true
	}
	return "", false
}

// waitIn looks for the members of a body that say how long to wait, at any depth. The longest wait counts.
func waitIn(value any, now time.Time) time.Duration {
	var longest time.Duration
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			longest = max(longest, waitIn(element, now))
		}
	case map[string]any:
		for _, member := range members {
			if wait := member.read(textOf(value[member.name]), now); wait > 0 {
				return wait
			}
		}
		for _, inner := range value {
			longest = max(longest, waitIn(inner, now))
		}
	}
	return longest
}

// members are the members of bodies that say how long to wait.
var members = [...]struct {
	name string
	read func(value string, now time.Time) time.Duration
}{
	{"resets_in_seconds", seconds}, // ChatGPT.
	{"resets_at", reset},           // ChatGPT.
	{"retryDelay", reset},          // Google.
	{"X-RateLimit-Reset", reset},   // OpenRouter, which has its headers in the body, too.
}

// textOf returns a number or a text of a body as a text.
func textOf(value any) string {
	switch value := value.(type) {
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case string:
		return value
	}
	return ""
}

// retryAfter reads RFC 9110, section 10.2.3: seconds, or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if at, err := http.ParseTime(value); err == nil {
		return at.Sub(now)
	}
	return seconds(value, now)
}

func milliseconds(value string, _ time.Time) time.Duration { return scaled(value, time.Millisecond) }

func seconds(value string, _ time.Time) time.Duration { return scaled(value, time.Second) }

// The numbers from which a time is no longer a number of seconds from now but a Unix time in seconds, and one in
// milliseconds: in the years 2001 and 1973.
const (
	unixSeconds      = 1e9
	unixMilliseconds = 1e11
)

// reset reads a time in any of the ways that providers have: a duration ("6m0s"), a date (RFC 3339), a Unix time in
// seconds or milliseconds, or a number of seconds from now.
func reset(value string, now time.Time) time.Duration {
	if number, err := strconv.ParseFloat(value, 64); err == nil {
		switch {
		case number >= unixMilliseconds:
			return until(number/1000, now)
		case number >= unixSeconds:
			return until(number, now)
		}
		return scaled(value, time.Second)
	}
	if wait, err := time.ParseDuration(value); err == nil {
		return max(wait, 0)
	}
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// until returns how long it is until a Unix time.
func until(unix float64, now time.Time) time.Duration {
	return inSeconds(unix - float64(now.UnixMilli())/1000)
}

func scaled(value string, unit time.Duration) time.Duration {
	number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil {
		return 0
	}
	return inSeconds(number * unit.Seconds())
}

// inSeconds returns a number of seconds as a duration, zero if it is negative or no number.
func inSeconds(number float64) time.Duration {
	if !(number > 0) {
		return 0
	}
	return time.Duration(min(number, math.MaxInt32) * float64(time.Second))
}
