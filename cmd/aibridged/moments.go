package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// parseMoment returns the time that a date, a time or an age stands for. A date, and an age in days, is the beginning of
// that day in the local time zone.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return reports.DayBegin(day.Year(), day.Month(), day.Day(), time.Local), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if days, err := strconv.ParseUint(number, 10, 16); err == nil {
			now = now.In(time.Local)
			return reports.DayBegin(now.Year(), now.Month(), now.Day()-int(days), time.Local), nil
		}
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	return time.Time{}, fmt.Errorf("%q is neither a date (2026-01-02), nor a time (2026-01-02T15:04:05Z), nor an age (30d or 12h)", text)
}
