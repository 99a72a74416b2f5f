package wire

import (
	"math"
	"strconv"

	"github.com/tidwall/gjson"
)

// Figure is one number of an answer's usage. An upstream may report it many times, each time as the total so far: reports
// are never added up. The zero Figure was not reported.
type Figure struct {
	value int64
	told  bool
}

// Read sets the figure to value, and reports whether value is one: a number from 0 that an int64 holds, or a string with
// such a number. Null is none, but is understood. A 0 does not replace an earlier value: it stands for a figure that a
// report leaves out.
func (f *Figure) Read(value gjson.Result) (understood bool) {
	n, ok := told(value)
	if ok && (n > 0 || !f.told) {
		*f = Figure{n, true}
	}
	return ok || value.Type == gjson.Null
}

// Raise is Read for figures that only grow: a smaller value does not replace a larger one.
func (f *Figure) Raise(value gjson.Result) (understood bool) {
	n, ok := told(value)
	if ok && (n > f.value || !f.told) {
		*f = Figure{n, true}
	}
	return ok || value.Type == gjson.Null
}

// told returns the whole number that a value is. Some servers write it as a string.
func told(value gjson.Result) (int64, bool) {
	if text := value.Str; value.Type == gjson.String && text != "" && isDigit(text[0]) && isDigit(text[len(text)-1]) && gjson.Valid(text) {
		return count(text)
	}
	return Whole(value)
}

func isDigit[C byte | rune](c C) bool { return '0' <= c && c <= '9' }

// Whole returns a value that is a whole number from 0, as counts and indexes are. It returns false for any other value.
func Whole(value gjson.Result) (int64, bool) {
	if value.Type != gjson.Number {
		return 0, false
	}
	n, ok := count(value.Raw)
	if !ok {
		return 0, false
	}
	return n, true
}

// count reads a whole number from 0, also one written with a fraction or an exponent.
func count(number string) (int64, bool) {
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		return n, n >= 0
	}
	const exact = 1 << 53 // Up to here a float64 holds every whole number.
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 0 || f > exact || f != math.Trunc(f) {
		return 0, false
	}
	return int64(f), true
}

// adder adds numbers from 0. A sum that no int64 holds is the largest one, and sets beyond.
type adder struct{ beyond bool }

func (a *adder) sum(one, other int64) int64 {
	if one > math.MaxInt64-other {
		a.beyond = true
		return math.MaxInt64
	}
	return one + other
}

// sum returns the sum of two numbers from 0, or the largest number if no int64 holds it.
func sum(one, other int64) int64 { return new(adder).sum(one, other) }

// Value returns the figure, or 0 if it was not reported.
func (f Figure) Value() int64 { return f.value }

// Exceeds reports whether both figures were reported and f is the larger one.
func (f Figure) Exceeds(whole Figure) bool { return f.told && whole.told && f.value > whole.value }

// Less returns the figure minus its parts, or 0 and false where the parts are more than the figure. For a figure that
// was not reported it returns 0 and true.
func (f Figure) Less(parts ...Figure) (rest int64, ok bool) {
	if !f.told {
		return 0, true
	}
	rest = f.value
	for _, part := range parts {
		if part.value > rest {
			return 0, false
		}
		rest -= part.value
	}
	return rest, true
}
