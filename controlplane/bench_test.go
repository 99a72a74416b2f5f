package controlplane_test

import (
	"context"
	"fmt"
	"testing"

	protobuf "google.golang.org/protobuf/proto"

	"github.com/coder/aibridged/proto"
)

func BenchmarkIsAuthorized(b *testing.B) {
	in, out := &proto.IsAuthorizedRequest{Key: "key"}, filled(&proto.IsAuthorizedResponse{})
	for _, link := range links() {
		b.Run(link.name, func(b *testing.B) {
			client := connect(b, link.dialer(b, fake(func(context.Context, string, protobuf.Message) (protobuf.Message, error) {
				return out, nil
			})))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.IsAuthorized(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRecordBatch sends 100 records of some 300 bytes in one call.
func BenchmarkRecordBatch(b *testing.B) {
	in, out := &proto.RecordBatchRequest{}, &proto.RecordBatchResponse{}
	for i := range 100 {
		usage := filled(&proto.RecordTokenUsageRequest{}).(*proto.RecordTokenUsageRequest)
		usage.RecordId = fmt.Sprintf("018f0000-0000-7000-8000-%012d", i)
		in.Records = append(in.Records, &proto.Record{Record: &proto.Record_TokenUsage{TokenUsage: usage}})
	}
	for _, link := range links() {
		b.Run(link.name, func(b *testing.B) {
			client := connect(b, link.dialer(b, fake(func(context.Context, string, protobuf.Message) (protobuf.Message, error) {
				return out, nil
			})))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.RecordBatch(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(in.GetRecords())), "ns/record")
		})
	}
}
