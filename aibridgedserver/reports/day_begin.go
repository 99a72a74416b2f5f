package reports

import (
	"time"
)

// DayBegin returns when a day begins in a time zone: at its first instant, which is not midnight where the clocks skip that. A
// day beyond the end of a month is one of the next.
func DayBegin(year int, month time.Month, day int, zone *time.Location) time.Time {
	year, month, day = time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Date()
	at := time.Date(year, month, day, 0, 0, 0, 0, zone) // If there is none, it is before or behind the gap.
	for isBefore(at, year, month, day) {
		at = at.Add(quarter)
	}
	for !isBefore(at.Add(-quarter), year, month, day) {
		at = at.Add(-quarter)
	}
	return at
}

// isBefore reports whether an instant is on an earlier day, by the clocks of its time zone.
func isBefore(at time.Time, year int, month time.Month, day int) bool {
	y, m, d := at.Date()
	if y != year {
		return y < year
	}
	if m != month {
		return m < month
	}
	return d < day
}
