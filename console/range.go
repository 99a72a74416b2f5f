package console

import (
	"net/url"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// chosen is the range that a query asks for, with what makes links that ask for the same.
type chosen struct {
	Range  reports.Range
	Preset string // Empty: there are two ends.
	values url.Values
	// AllTime says that a page offers all time, too.
	AllTime bool
}

// preset is a range that ends now.
type preset struct {
	Value, Name string
	days        int // Zero: the last 24 hours.
}

func presets() []preset {
	return []preset{
		{"24h", "24 hours", 0}, {"7d", "7 days", 7}, {"30d", "30 days", 30}, {"90d", "90 days", 90}, {"365d", "365 days", 365},
	}
}

// Presets returns the ranges that a page offers.
func (chosen) Presets() []preset { return presets() }

// grain is what ranges are taken down to.
const grain = 15 * time.Minute

// choose returns the range that a query asks for, or the preset.
func (v *visit) choose(usual string) (chosen, error) {
	q := v.URL.Query()
	c := chosen{values: url.Values{}}
	if zone := q.Get("zone"); zone != "" {
		if found, err := zoneOf(zone); err != nil || found == nil {
			return c, askedWrongly{"This time zone is not known: write one such as Europe/Berlin."}
		}
		c.values.Set("zone", zone)
	}
	if from, to := q.Get("from"), q.Get("to"); from != "" || to != "" {
		var errFrom, errTo error
		c.Range.From, _, errFrom = v.moment(from)
		var isDay bool
		c.Range.To, isDay, errTo = v.moment(to)
		if isDay {
			c.Range.To = reports.DayBegin(c.Range.To.Year(), c.Range.To.Month(), c.Range.To.Day()+1, v.zone)
		}
		if errFrom != nil || errTo != nil {
			return c, askedWrongly{"Write both ends of the range as dates, such as 2026-01-02."}
		}
		if !c.Range.From.Before(c.Range.To) || c.Range.To.Sub(c.Range.From) > 5*365*24*time.Hour {
			return c, askedWrongly{"The range must begin before it ends, and be no longer than five years."}
		}
		if c.Range = c.Range.Aligned(); !c.Range.From.Before(c.Range.To) {
			return c, askedWrongly{"The range is within a quarter of an hour: sums are kept by quarters."}
		}
		c.values.Set("from", from)
		c.values.Set("to", to)
		return c, nil
	}
	c.Preset = q.Get("range")
	if c.Preset == "" {
		c.Preset = usual
	}
	c.values.Set("range", c.Preset)
	now := v.now.In(v.zone)
	c.Range.To = now.Truncate(grain).Add(grain)
	for _, p := range presets() {
		if p.Value != c.Preset {
			continue
		}
		if c.Range.From = c.Range.To.Add(-24 * time.Hour); p.days > 0 {
			c.Range.From = reports.DayBegin(now.Year(), now.Month(), now.Day()-p.days+1, v.zone)
		}
		return c, nil
	}
	if c.Preset == "all" {
		c.Range.From = c.Range.To.AddDate(-5, 0, 1)
		return c, nil
	}
	return c, askedWrongly{"This range is not known."}
}

// moment returns the time that a text names: a day, which begins then, or an instant.
func (v *visit) moment(text string) (at time.Time, isDay bool, err error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return reports.DayBegin(day.Year(), day.Month(), day.Day(), v.zone), true, nil
	}
	at, err = time.Parse(time.RFC3339, text)
	return at, false, err
}

// with returns a query for the same range with further parameters, of which those without a value are left out.
func (c chosen) with(pairs ...string) string {
	values := url.Values{}
	for name, value := range c.values {
		values[name] = value
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			values.Set(pairs[i], pairs[i+1])
		}
	}
	return values.Encode()
}

// Said says which range a page is about, to the minute.
func (p *page) Said() string {
	if p.Preset == "all" {
		return ""
	}
	const minute = "2006-01-02 15:04"
	return "What began from " + p.Range.From.In(p.visit.zone).Format(minute) + " until " + p.Range.To.In(p.visit.zone).Format(minute) + "."
}

// Ends returns the days on which the range begins and ends, for a form.
func (p *page) Ends() []string {
	return []string{p.Range.From.In(p.visit.zone).Format(time.DateOnly), p.Range.To.Add(-1).In(p.visit.zone).Format(time.DateOnly)}
}
