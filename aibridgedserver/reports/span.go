package reports

import (
	"fmt"
	"time"
)

// quarter is the length of the stretches that sums are kept for: a quarter of an hour. The days of every time zone begin
// and end where one does.
const quarter = 15 * time.Minute

// quarterOf returns the number of the quarter of an hour that an instant, in microseconds, is in.
func quarterOf(micros int64) int64 { return floorDiv(micros, quarter.Microseconds()) }

func floorDiv(n, by int64) int64 {
	if n < 0 {
		return -((-n + by - 1) / by)
	}
	return n / by
}

// span is a length that sums are kept for, as the database numbers it. The longer ones make sums over long ranges short.
type span int

const (
	quarters  span = iota
	days           // In UTC.
	eightDays      // From 1970 on.
)

func spans() [3]span { return [...]span{quarters, days, eightDays} }

// quartersADay is how many quarters of an hour most days have.
const quartersADay = 96

// length returns how many quarters a span has.
func (s span) length() int64 {
	switch s {
	case days:
		return quartersADay
	case eightDays:
		return 8 * quartersADay
	default:
		return 1
	}
}

// begin returns the quarter in which the span that a quarter is in begins.
func (s span) begin(quarter int64) int64 { return floorDiv(quarter, s.length()) * s.length() }

// stretch is a part of a range that sums of one span cover. It does not include its end.
type stretch struct {
	span     span
	from, to int64
}

// Range is a range of time. It does not include To. Whatever reads a range takes both ends down to a quarter of an hour, as
// [Range.Aligned] does.
type Range struct{ From, To time.Time }

// longestRange bounds a range, and with it what a report reads.
const longestRange = 5 * 366 * 24 * time.Hour

// aligned returns the range as it is read, or why it cannot be.
func (r Range) aligned() (Range, error) {
	aligned := r.Aligned()
	switch {
	case !r.From.Before(r.To):
		return r, fmt.Errorf("the range ends at %s, before it begins", r.To.Format(time.RFC3339))
	case !aligned.From.Before(aligned.To):
		return r, fmt.Errorf("the range from %s to %s is within a quarter of an hour, and sums are kept by quarters", r.From.Format(time.RFC3339),
			r.To.Format(time.RFC3339))
	case r.To.Sub(r.From) > longestRange:
		return r, fmt.Errorf("the range is longer than five years")
	default:
		return aligned, nil
	}
}

// Aligned returns the range with both ends taken down to a quarter of an hour, in their time zones. All reports of a range
// read that, so that they agree.
func (r Range) Aligned() Range { return Range{quarterBegin(r.From), quarterBegin(r.To)} }

func quarterBegin(at time.Time) time.Time {
	return time.UnixMicro(quarterOf(at.UnixMicro()) * quarter.Microseconds()).In(at.Location())
}

func (r Range) quarters() (from, to int64) {
	return quarterOf(r.From.UnixMicro()), quarterOf(r.To.UnixMicro())
}

// Before returns the range of the same length that ends where this one begins.
func (r Range) Before() Range { return Range{r.From.Add(r.From.Sub(r.To)), r.From} }

// stretches returns the parts of the quarters from one to another: the longest spans that are within, and shorter ones
// before and behind them.
func stretches(from, to int64) []stretch { return eightDays.stretches(from, to) }

func (s span) stretches(from, to int64) (parts []stretch) {
	if from >= to {
		return nil
	}
	if s == quarters {
		return []stretch{{s, from, to}}
	}
	first, last := s.begin(from+s.length()-1), s.begin(to)
	if first >= last {
		return (s - 1).stretches(from, to)
	}
	parts = append((s-1).stretches(from, first), stretch{s, first, last})
	return append(parts, (s-1).stretches(last, to)...)
}

// Days returns the beginnings of the days of a range in a time zone, and at last its end. The first one is the range's
// beginning, also where that is within a day.
func (r Range) Days(zone *time.Location) []time.Time {
	at := []time.Time{r.From.In(zone)}
	for {
		last := at[len(at)-1]
		next := DayBegin(last.Year(), last.Month(), last.Day()+1, zone)
		if !next.Before(r.To) {
			return append(at, r.To.In(zone))
		}
		at = append(at, next)
	}
}
