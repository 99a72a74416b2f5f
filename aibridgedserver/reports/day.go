package reports

import "time"

// dayList are the days of a range, with the end of the range behind them.
type dayList struct {
	days   []Day
	bounds []time.Time // The beginnings of the days, and at last the end.
}

func newDays(q Query) dayList {
	bounds := q.Days(q.Zone)
	list := dayList{bounds: bounds, days: make([]Day, len(bounds)-1)}
	for i := range list.days {
		list.days[i] = Day{Begin: bounds[i], By: map[string]Figures{}}
	}
	return list
}

// run are days of one length that follow each other: the quarters from one to another, so many a day.
type run struct {
	from, to, length int64
	first            int // The number of its first day.
}

// runs returns the runs of the days. Most days are in one. Those on which the clocks change, and those that the range begins
// or ends in, have others.
func (l dayList) runs() (runs []run) {
	for i := range l.days {
		from, to := Range{l.bounds[i], l.bounds[i+1]}.quarters()
		if from == to {
			continue
		}
		if n := len(runs) - 1; n >= 0 && runs[n].to == from && runs[n].length == to-from {
			runs[n].to = to
			continue
		}
		runs = append(runs, run{from, to, to - from, i})
	}
	return runs
}

// onlyValue says that all of each day is of one value.
func (l dayList) onlyValue(value string) {
	for i := range l.days {
		l.days[i].By[value] = l.days[i].Total
	}
}

// withOthers returns the days, each with what its total has beside the values.
func (l dayList) withOthers() []Day {
	for i := range l.days {
		day := &l.days[i]
		day.Others = day.Total
		for _, f := range day.By {
			day.Others.subtract(f)
		}
	}
	return l.days
}

func (f *Figures) subtract(other Figures) {
	negative := Figures{
		Requests: -other.Requests, Errors: -other.Errors, Input: -other.Input, Output: -other.Output, CacheRead: -other.CacheRead,
		CacheWrite: -other.CacheWrite, USD: other.USD.Neg(), Estimated: other.Estimated.Neg(), Unpriced: -other.Unpriced,
		UnpricedTokens: -other.UnpricedTokens, ToolCalls: -other.ToolCalls,
	}
	f.firstBytes = [slots]int64{} // Values of days have none.
	f.Add(negative)
}
