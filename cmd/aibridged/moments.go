package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseMoment returns the time that a date, a time or an age stands for. A date, and an age in days, is the beginning of
// that day in the local time zone.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if at, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return at, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if number, ok := strings.CutSuffix(text, "d"); ok {
		if days, err := strconv.ParseUint(number, 10, 16); err == nil {
			now = now.In(time.Local)
			return time.Date(now.Year(), now.Month(), now.Day()-int(days), 0, 0, 0, 0, time.Local), nil
		}
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	return time.Time{}, fmt.Errorf("%q is neither a date (2026-01-02), nor a time (2026-01-02T15:04:05Z), nor an age (30d or 12h)", text)
}
