package wire

import (
	"math"
	"strconv"

	"github.com/tidwall/gjson"
)

// Figure is one number of an answer's usage. An upstream may tell it many times, each time as what it is so far: the
// last that it told counts, and none is ever added to another. The zero Figure was not told.
type Figure struct {
	value int64
	told  bool
}

// Read takes value for the figure, unless it is absent, null, or anything else but a number from 0 that int64 holds.
func (f *Figure) Read(value gjson.Result) {
	if value.Type != gjson.Number {
		return
	}
	if n, ok := count(value.Raw); ok {
		*f = Figure{n, true}
	}
}

// count reads a whole number from 0, also where it is written with a fraction or an exponent.
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

// Value returns the figure, or 0 if it was not told.
func (f Figure) Value() int64 { return f.value }

// Exceeds reports whether both figures were told and f is the larger one.
func (f Figure) Exceeds(whole Figure) bool { return f.told && whole.told && f.value > whole.value }

// Less returns the figure less its parts, or 0 and false where they are more than it is. Of a figure that was not told
// nothing can be more.
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

// Extras returns the figures that were told under their names, or nil if none was.
func Extras(figures map[string]Figure) map[string]int64 {
	var extras map[string]int64
	for name, figure := range figures {
		if !figure.told {
			continue
		}
		if extras == nil {
			extras = make(map[string]int64, len(figures))
		}
		extras[name] = figure.value
	}
	return extras
}
