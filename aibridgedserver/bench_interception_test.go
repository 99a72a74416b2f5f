package aibridgedserver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// fourRecords returns the records of n interceptions of short requests: a start, a prompt, a token usage and an end
// each, with the metadata that a gateway adds.
func fourRecords(tb testing.TB, n int) []*proto.Record {
	initiator := newID()
	var all []*proto.Record
	for i := range n {
		id := newID()
		first := start(id, initiator, i)
		first.GetInterception().StartedAt = timestamppb.Now() // Later than all that is stored, as on a real gateway.
		first.GetInterception().RequestBytes, first.GetInterception().RequestSha256 = 1024, make([]byte, 32)
		usage := tokens(id, 100, i)
		usage.GetTokenUsage().Metadata = map[string]*anypb.Any{
			"model": packed(tb, "claude-opus-4-5"), "service_tier": packed(tb, "standard"),
		}
		last := end(id, i+1)
		last.GetInterceptionEnded().ResponseBytes, last.GetInterceptionEnded().ResponseSha256 = 1024, make([]byte, 32)
		all = append(all, first, prompt(id, strings.Repeat("What a person typed. ", 10), i), usage, last)
	}
	return all
}

// BenchmarkInterception stores interceptions of four records. It reports the CPU time of the process.
func BenchmarkInterception(b *testing.B) {
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(4*size), func(b *testing.B) {
			c := newControlPlane(b)
			var spent time.Duration
			for b.Loop() {
				b.StopTimer()
				batch := fourRecords(b, size)
				b.StartTimer()
				before := testkit.CPUTime(b)
				c.mustStore(b, batch...)
				spent += testkit.CPUTime(b) - before
			}
			b.ReportMetric(spent.Seconds()*1e6/float64(b.N*size), "µs-cpu/interception")
		})
	}
}
