package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/proto"
)

// The first argument that makes the test binary another process on a database. The second argument is the database's
// path.
const (
	recordUntilKilled = "record-until-killed"
	createToken       = "create-token"
	revokeTokens      = "revoke-tokens"
)

// recordInto stores records for ever. It prints the id of each once it is acknowledged.
func recordInto(path string) {
	err := withServer(context.Background(), path, func(server *aibridgedserver.Server) error {
		for {
			id := uuid.NewString()
			_, err := server.RecordPromptUsage(context.Background(), &proto.RecordPromptUsageRequest{
				RecordId: id, InterceptionId: id, Prompt: id, CreatedAt: timestamppb.Now(),
			})
			if err != nil {
				return err
			}
			fmt.Println(id)
		}
	})
	exitWith(err)
}

func createTokenIn(path string) {
	exitWith(withServer(context.Background(), path, func(server *aibridgedserver.Server) error {
		_, _, err := server.CreateToken(context.Background(), aibridgedserver.TokenParams{Username: "alice"})
		return err
	}))
}

// revokeTokensIn revokes all tokens there are.
func revokeTokensIn(path string) {
	ctx := context.Background()
	exitWith(withServer(ctx, path, func(server *aibridgedserver.Server) error {
		keys, err := server.Tokens(ctx)
		for _, key := range keys {
			err = errors.Join(err, server.RevokeToken(ctx, key.ID))
		}
		return err
	}))
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func withServer(ctx context.Context, path string, do func(*aibridgedserver.Server) error) error {
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	server, err := aibridgedserver.New(ctx, db, aibridgedserver.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	return do(server)
}

func makeToken(ctx context.Context, db aibridgedserver.Database) error {
	server, err := aibridgedserver.New(ctx, db, aibridgedserver.Options{})
	if err != nil {
		return err
	}
	defer server.Close()
	_, _, err = server.CreateToken(ctx, aibridgedserver.TokenParams{Username: "alice"})
	return err
}

func countTokens(t *testing.T, db aibridgedserver.Database) int {
	t.Helper()
	var n int
	if err := db.Reader.QueryRowContext(t.Context(), `SELECT count(*) FROM api_keys`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A program and its commands are several processes on one file. The first of them makes it.
func TestConcurrentProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "control.db")
	var commands []*exec.Cmd
	for range 6 {
		command := exec.CommandContext(t.Context(), os.Args[0], createToken, path)
		command.Stderr = t.Output()
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, command)
	}
	for _, command := range commands {
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	}
	if n := countTokens(t, open(t, path)); n != len(commands) {
		t.Errorf("%d tokens, want %d", n, len(commands))
	}
}

// A token that another process revokes is refused 100 ms later, by a server that has just let it in.
func TestFault047RevokedByAnotherProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	err := withServer(t.Context(), path, func(server *aibridgedserver.Server) error {
		for range 5 {
			token, key, err := server.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "alice"})
			if err != nil {
				return err
			}
			requests := []*proto.IsAuthorizedRequest{{Key: token}, {KeyId: key.ID}}
			for _, request := range requests {
				if _, err := server.IsAuthorized(t.Context(), request); err != nil {
					return err
				}
			}
			if output, err := exec.CommandContext(t.Context(), os.Args[0], revokeTokens, path).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, output)
			}
			<-time.After(100 * time.Millisecond)
			for _, request := range requests {
				if answer, err := server.IsAuthorized(t.Context(), request); err == nil || err.Error() != "unauthorized" {
					t.Errorf("got %v, %v", answer, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFault075KilledProcessLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	acknowledged := map[string]bool{}
	for round := range 10 {
		command := exec.CommandContext(t.Context(), os.Args[0], recordUntilKilled, path)
		output, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(output)
		for n := 0; lines.Scan(); n++ {
			acknowledged[lines.Text()] = true
			if n == 50*round {
				if err := command.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := command.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
	}
	db := open(t, path)
	rows, err := db.Reader.QueryContext(t.Context(),
		`SELECT record_id, prompt FROM prompt_usages`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id uuid.UUID
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			t.Fatal(err)
		}
		if text != id.String() {
			t.Errorf("record %s has the text %q", id, text)
		}
		delete(acknowledged, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d acknowledged records are lost", len(acknowledged))
	}
	if got := pragma(t, db.Reader, "integrity_check"); got != "ok" {
		t.Errorf("integrity: %s", got)
	}
}
