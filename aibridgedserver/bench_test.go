package aibridgedserver_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// records returns n records in the proportions of real traffic, with texts of a usual length.
func records(n int) []*proto.Record {
	var all []*proto.Record
	for i := 0; len(all) < n; i++ {
		id := newID()
		all = append(all, start(id, newID(), i), prompt(id, strings.Repeat("What a person typed. ", 20), i),
			tokens(id, 100, i), tool(id, "Bash", `{"command":"go test ./..."}`, i), end(id, i+1))
	}
	return all[:n]
}

func BenchmarkRecordBatch(b *testing.B) {
	for _, size := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c := newControlPlane(b)
			for b.Loop() {
				b.StopTimer()
				batch := records(size)
				b.StartTimer()
				c.mustStore(b, batch...)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "µs/record")
		})
	}
}

// Each call is a transaction of its own, however many calls run at the same time.
func BenchmarkRecordOneByOne(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			c := newControlPlane(b)
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.one(b.Context(), tokens(newID(), 100, 1)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkIsAuthorized(b *testing.B) {
	c := newControlPlane(b)
	token, _ := c.token(b, "alice")
	for name, request := range map[string]*proto.IsAuthorizedRequest{
		"known": {Key: token}, "unknown": {Key: "0" + token[1:]}, "odd": {Key: "sk-ant-odd"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.IsAuthorized(b.Context(), request); (err == nil) != (name == "known") {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkInterceptions(b *testing.B) {
	c := newControlPlane(b)
	const stored = 20_000
	for range stored / 200 {
		c.mustStore(b, records(1000)...)
	}
	for name, filter := range map[string]aibridgedserver.InterceptionFilter{"all": {}, "newest 10": {Limit: 10}} {
		b.Run(name, func(b *testing.B) {
			read := 0
			for b.Loop() {
				read += len(c.report(b, filter))
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(read), "µs/interception")
		})
	}
}
