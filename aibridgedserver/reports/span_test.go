package reports

import (
	"testing"
	"time"
)

// The parts of any range follow each other without a gap, begin where their spans do, and are few.
func FuzzStretches(f *testing.F) {
	f.Add(int64(0), int64(1))
	f.Add(int64(-5), int64(100_000))
	f.Add(int64(95), int64(97))
	f.Fuzz(func(t *testing.T, from, to int64) {
		if from < -1<<40 || to > 1<<40 || from >= to {
			return
		}
		parts := stretches(from, to)
		at := from
		for _, p := range parts {
			if p.from != at || p.to <= p.from || p.span.begin(p.from) != p.from || p.span.begin(p.to) != p.to {
				t.Fatalf("%d to %d: %v", from, to, parts)
			}
			if most := map[span]int64{quarters: quartersADay - 1, days: 7 * quartersADay}[p.span]; most > 0 && p.to-p.from > 2*most {
				t.Errorf("%d to %d: %v", from, to, parts)
			}
			at = p.to
		}
		if at != to || len(parts) > 5 {
			t.Errorf("%d to %d: %v", from, to, parts)
		}
	})
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		counts [slots]int64
		want   time.Duration
	}{
		{[slots]int64{}, 0},
		{[slots]int64{0: 1}, 100 * time.Millisecond},
		{[slots]int64{0: 1, 9: 1}, 100 * time.Millisecond},
		{[slots]int64{4: 100}, 875 * time.Millisecond},
		{[slots]int64{9: 5}, 15 * time.Second},
		{[slots]int64{0: 2, 1: 4, 2: 2}, 175 * time.Millisecond},
	} {
		if got := median(test.counts); got != test.want {
			t.Errorf("%v: %v, want %v", test.counts, got, test.want)
		}
	}
	for took, want := range map[time.Duration]int{0: 0, 99 * time.Millisecond: 0, 100 * time.Millisecond: 1, time.Hour: slots - 1} {
		if got := slot(took); got != want {
			t.Errorf("%v is in slot %d, want %d", took, got, want)
		}
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	const took, held = 10 * time.Millisecond, 4 * time.Millisecond
	for gentle, want := range map[bool]time.Duration{false: held, true: 50 * took} {
		if got := (DigestOptions{Gentle: gentle}).pause(took, held); got != want {
			t.Errorf("gentle %t: %v, want %v", gentle, got, want)
		}
	}
}
