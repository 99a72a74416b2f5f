package aibridgedserver_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
)

func TestCreateToken(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	form := regexp.MustCompile(`^[0-9A-Za-z]{10}-[0-9A-Za-z]{22,}$`)
	seen := map[string]bool{}
	users := map[string]bool{}
	for range 50 {
		token, key := c.token(t, "alice")
		id, secret, _ := strings.Cut(token, "-")
		if !form.MatchString(token) || id != key.ID {
			t.Fatalf("token %q with id %q", token, key.ID)
		}
		if seen[id] || seen[secret] {
			t.Fatalf("token %q repeats a part of another", token)
		}
		seen[id], seen[secret] = true, true
		users[key.UserID] = true
	}
	if len(users) != 1 {
		t.Errorf("one name has %d users", len(users))
	}
	if _, bob := c.token(t, "bob"); users[bob.UserID] {
		t.Error("two names have one user")
	}
}

func TestSecretIsNotInTheFiles(t *testing.T) {
	engine.SQLiteOnly(t)
	t.Parallel()
	c := newControlPlane(t)
	token, key := c.token(t, "alice")
	_, secret, _ := strings.Cut(token, "-")
	files, err := filepath.Glob(c.path + "*")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content...)
	}
	if !bytes.Contains(all, []byte(key.ID)) {
		t.Error("the id is not in the files")
	}
	if bytes.Contains(all, []byte(secret)) {
		t.Error("the secret is in the files")
	}
}

func TestCreateTokenRefuses(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	for _, params := range []aibridgedserver.TokenParams{
		{Username: ""},
		{Username: " alice"},
		{Username: "alice\n"},
		{Username: "al\x00ice"},
		{Username: "al\x1bice"},
		{Username: "al\xffice"},
		{Username: strings.Repeat("a", 256)},
		{Username: "alice", Expires: -time.Hour},
	} {
		if token, _, err := c.CreateToken(t.Context(), params); err == nil || token != "" {
			t.Errorf("%+v: got %q, %v", params, token, err)
		}
	}
	if n := c.number(t, `SELECT count(*) FROM users`); n != 0 {
		t.Errorf("%d users were made", n)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	if keys, err := c.Tokens(t.Context()); err != nil || keys == nil || len(keys) != 0 {
		t.Fatalf("at first: %v, %v", keys, err)
	}
	_, forEver := c.token(t, "zoe")
	_, forAnHour, err := c.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "alice", Expires: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RevokeToken(t.Context(), forEver.ID); err != nil {
		t.Fatal(err)
	}
	keys, err := c.Tokens(t.Context())
	if err != nil || len(keys) != 2 {
		t.Fatalf("got %v, %v", keys, err)
	}
	if keys[0].RevokedAt == nil || keys[0].RevokedAt.Before(keys[0].CreatedAt) || keys[1].RevokedAt != nil {
		t.Errorf("revoked at %v and %v", keys[0].RevokedAt, keys[1].RevokedAt)
	}
	forEver.RevokedAt = keys[0].RevokedAt
	checkJSON(t, keys, []aibridgedserver.APIKey{forEver, forAnHour})
}

func TestRevokeToken(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	token, key := c.token(t, "alice")
	for _, unknown := range []string{"", "0000000000", "' OR 1=1 --", token} {
		err := c.RevokeToken(t.Context(), unknown)
		if !errors.Is(err, aibridgedserver.ErrUnknownToken) {
			t.Errorf("%q: got %v", unknown, err)
		}
		if _, secret, _ := strings.Cut(token, "-"); strings.Contains(err.Error(), secret) {
			t.Errorf("error holds the secret: %v", err)
		}
	}
	if err := c.RevokeToken(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	first := c.number(t, `SELECT revoked_at FROM api_keys`)
	if err := c.RevokeToken(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	if again := c.number(t, `SELECT revoked_at FROM api_keys`); again != first {
		t.Errorf("the second revocation moved the first from %d to %d", first, again)
	}
}

// checkJSON compares the JSON of two values.
func checkJSON(t *testing.T, got, want any) {
	t.Helper()
	gotText, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	wantText, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(gotText, wantText) {
		t.Errorf("got %s\nwant %s", gotText, wantText)
	}
}
