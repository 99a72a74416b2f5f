package sqlite_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// TestLostFile deletes each file of a database that is open: what is stored then is not acknowledged, and not refused for
// good either, and neither is a token shown.
func TestLostFile(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		path := filepath.Join(t.TempDir(), "control.db")
		db := open(t, path)
		server, err := aibridgedserver.New(t.Context(), db, aibridgedserver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		store := func() *proto.RecordBatchResponse {
			t.Helper()
			id := uuid.NewString()
			response, err := server.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: []*proto.Record{{
				Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
					RecordId: id, InterceptionId: id, Prompt: id, CreatedAt: timestamppb.Now(),
				}},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			return response
		}
		if failures := store().GetFailures(); len(failures) != 0 || db.Health.Writable(t.Context()) != nil {
			t.Errorf("before: %v", failures)
		}
		if err := os.Rename(path+suffix, path+".kept"); err != nil {
			t.Fatal(err)
		}
		if failures := store().GetFailures(); len(failures) != 1 || failures[0].GetPermanent() {
			t.Errorf("without control.db%s: %v", suffix, failures)
		}
		if token, _, err := server.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "ada"}); err == nil || token != "" {
			t.Errorf("without control.db%s a token was made: %v", suffix, err)
		}
		want := "the database file control.db" + suffix + " has been deleted"
		for _, err := range []error{db.Health.Intact(), db.Health.Writable(t.Context())} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		if err := os.Rename(path+".kept", path+suffix); err != nil {
			t.Fatal(err)
		}
		if failures := store().GetFailures(); len(failures) != 0 || db.Health.Writable(t.Context()) != nil {
			t.Errorf("once control.db%s is back: %v", suffix, failures)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}
}
