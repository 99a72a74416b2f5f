package aibridgedserver_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// A valid token signs its owner in, and says whether that is an administrator. One that is revoked or has expired does not,
// also for who has signed in before.
func TestSignIn(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	create := func(params aibridgedserver.TokenParams) (string, aibridgedserver.APIKey) {
		token, key, err := c.CreateToken(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		return token, key
	}
	usual, _ := create(aibridgedserver.TokenParams{Username: "ada"})
	admin, adminKey := create(aibridgedserver.TokenParams{Username: "ada", Admin: true})
	brief, briefKey := create(aibridgedserver.TokenParams{Username: "bob", Expires: time.Microsecond})
	for token, isAdmin := range map[string]bool{usual: false, admin: true} {
		key, err := c.SignIn(t.Context(), token)
		if err != nil || key.Username != "ada" || key.Admin != isAdmin || !strings.HasPrefix(token, key.ID+"-") {
			t.Errorf("%+v, %v", key, err)
		}
	}
	if key, err := c.SignedIn(t.Context(), adminKey.ID); err != nil || !key.Admin {
		t.Errorf("%+v, %v", key, err)
	}
	if err := c.RevokeToken(t.Context(), adminKey.ID); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{admin, brief, usual + "x", usual[:20], "", "sk-ant-x", adminKey.ID} {
		if key, err := c.SignIn(t.Context(), token); !errors.Is(err, aibridgedserver.ErrNotSignedIn) || key.Username != "" {
			t.Errorf("%q: %+v, %v", token, key, err)
		}
	}
	for _, id := range []string{adminKey.ID, briefKey.ID, "", "nobody"} {
		if key, err := c.SignedIn(t.Context(), id); !errors.Is(err, aibridgedserver.ErrNotSignedIn) || key.Username != "" {
			t.Errorf("%q: %+v, %v", id, key, err)
		}
	}
	keys, err := c.Tokens(t.Context())
	if err != nil || len(keys) != 3 {
		t.Fatal(keys, err)
	}
	for _, key := range keys {
		if key.Admin != (key.ID == adminKey.ID) {
			t.Errorf("%+v", key)
		}
	}
}

// Each transaction that stores or deletes something notes the interceptions that it is of, once each, and one that does
// nothing notes nothing.
func TestTouched(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	one, other := newID(), newID()
	records := []*proto.Record{start(one, newID(), 0), prompt(one, "Hi", 1), start(other, newID(), 2), end(one, 3), tokens(one, 5, 4)}
	notes := func(rows, bytes int) {
		t.Helper()
		if got := c.number(t, `SELECT count(*) FROM touched`); got != rows {
			t.Errorf("%d notes, want %d", got, rows)
		}
		if got := c.number(t, `SELECT coalesce(sum(length(ids)), 0) FROM touched`); got != bytes {
			t.Errorf("%d bytes of ids, want %d", got, bytes)
		}
	}
	c.mustStore(t, records...)
	notes(1, 2*16)
	c.mustStore(t, records...) // All are stored already.
	notes(1, 2*16)
	c.mustStore(t, tool(one, "grep", "{}", 5))
	notes(2, 3*16)
	deleted := int64(0)
	if _, err := c.PruneWith(t.Context(), second(100).AsTime(), func(n int64) { deleted = n }); err != nil || deleted != 2 {
		t.Errorf("%d deleted, %v", deleted, err)
	}
	notes(3, 5*16)
}
