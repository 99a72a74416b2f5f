package reports

import (
	"time"

	"github.com/coder/aibridged/aibridgedserver"
)

// PeriodOf returns the period of a budget that an instant is in, by the calendar of a time zone. A week begins on Monday. Both
// ends are the first instants of days, so that the sums that are kept by quarter of an hour add up to the period.
func PeriodOf(period aibridgedserver.BudgetPeriod, at time.Time, zone *time.Location) Range {
	at = at.In(zone)
	year, month, day := at.Date()
	switch period {
	case aibridgedserver.PerMonth:
		return Range{DayBegin(year, month, 1, zone), DayBegin(year, month+1, 1, zone)}
	case aibridgedserver.PerWeek:
		monday := day - int(at.Weekday()+6)%7
		return Range{DayBegin(year, month, monday, zone), DayBegin(year, month, monday+7, zone)}
	default:
		return Range{DayBegin(year, month, day, zone), DayBegin(year, month, day+1, zone)}
	}
}
