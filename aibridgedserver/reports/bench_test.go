package reports_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/recordgen"
	"github.com/coder/aibridged/internal/testkit"
)

// BenchmarkDigest derives from interceptions that were stored. It reports the CPU time of the process.
func BenchmarkDigest(b *testing.B) {
	const many = 20000
	for b.Loop() {
		b.StopTimer()
		h := newHouse(b)
		var users []string
		for n := range 100 {
			users = append(users, h.user(b, fmt.Sprint("user", n)))
		}
		h.fill(b, recordgen.Options{Interceptions: many, Users: users, From: noon.Add(-36 * 24 * time.Hour), To: noon, Seed: 1})
		b.StartTimer()
		before := testkit.CPUTime(b)
		h.digest(b)
		b.ReportMetric((testkit.CPUTime(b)-before).Seconds()*1e6/many, "µs-cpu/interception")
	}
}
