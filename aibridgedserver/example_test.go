package aibridgedserver_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/proto"
)

func Example() {
	if err := example(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// alice may use claude
	// alice asked "What is a gateway?"
}

func example(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "control-plane")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	db, err := sqlite.Open(ctx, filepath.Join(dir, "aibridged.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	server, err := aibridgedserver.New(ctx, db, aibridgedserver.Options{})
	if err != nil {
		return err
	}
	defer server.Close()

	// What an operator does.
	token, _, err := server.CreateToken(ctx, aibridgedserver.TokenParams{Username: "alice"})
	if err != nil {
		return err
	}

	// What a gateway does.
	who, err := server.IsAuthorized(ctx, &proto.IsAuthorizedRequest{Key: token})
	if err != nil {
		return err
	}
	fmt.Println(who.GetUsername(), "may use claude")
	const id = "019ab3c5-8d34-7000-8000-000000000001"
	_, err = server.RecordInterception(ctx, &proto.RecordInterceptionRequest{
		Id: id, InitiatorId: who.GetOwnerId(), ApiKeyId: who.GetApiKeyId(), Provider: "anthropic", Model: "claude",
		StartedAt: timestamppb.Now(),
	})
	if err != nil {
		return err
	}
	_, err = server.RecordPromptUsage(ctx, &proto.RecordPromptUsageRequest{
		RecordId: "019ab3c5-8d34-7000-8000-000000000002", InterceptionId: id, Prompt: "What is a gateway?",
		CreatedAt: timestamppb.Now(),
	})
	if err != nil {
		return err
	}

	// What a report does.
	for interception, err := range server.Interceptions(ctx, aibridgedserver.InterceptionFilter{Username: "alice"}) {
		if err != nil {
			return err
		}
		fmt.Printf("%s asked %q\n", interception.Initiator, interception.Prompts[0].Prompt)
	}
	return nil
}
