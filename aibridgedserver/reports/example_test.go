package reports_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/proto"
)

// A control plane has a record, and its reports say what that cost.
func ExampleReports() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "reports-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(ctx, filepath.Join(dir, "control.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	server, err := aibridgedserver.New(ctx, db, aibridgedserver.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	_, key, err := server.CreateToken(ctx, aibridgedserver.TokenParams{Username: "ada"})
	if err != nil {
		log.Fatal(err)
	}
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	id := "019a9f3c-0000-7000-8000-000000000001"
	records := []*proto.Record{
		{Record: &proto.Record_Interception{Interception: &proto.RecordInterceptionRequest{
			Id: id, InitiatorId: key.UserID, Provider: "anthropic", ProviderName: "anthropic", Model: "claude-3-7-sonnet-20250219",
			StartedAt: timestamppb.New(at),
		}}},
		{Record: &proto.Record_TokenUsage{TokenUsage: &proto.RecordTokenUsageRequest{
			InterceptionId: id, InputTokens: 3, CacheWriteInputTokens: 12_304, OutputTokens: 550, CreatedAt: timestamppb.New(at),
		}}},
	}
	if _, err := server.RecordBatch(ctx, &proto.RecordBatchRequest{Records: records}); err != nil {
		log.Fatal(err)
	}

	book, err := prices.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	of := reports.New(db, server, book)
	if _, err := of.Digest(ctx, reports.DigestOptions{}); err != nil {
		log.Fatal(err)
	}
	query := reports.Query{Range: reports.Range{From: at.Add(-time.Hour), To: at.Add(time.Hour)}}
	users, err := of.Breakdown(ctx, reports.Operator(), query, "user")
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range users.Rows {
		fmt.Println(row.Name, row.Requests, row.USD)
	}
	// Output: ada 1 0.054399
}
