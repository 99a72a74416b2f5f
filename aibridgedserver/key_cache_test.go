package aibridgedserver_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// belief is how long an answer may be wrong after another process has changed something.
const belief = 100 * time.Millisecond

// both are the two requests by which a key is known.
func both(token string) []*proto.IsAuthorizedRequest {
	id, _, _ := strings.Cut(token, "-")
	return []*proto.IsAuthorizedRequest{{Key: token}, {KeyId: id}}
}

// checkKnown authorises a key both ways.
func (c controlPlane) checkKnown(t *testing.T, token, username string) {
	t.Helper()
	for _, request := range both(token) {
		got, err := c.IsAuthorized(t.Context(), request)
		if err != nil || got.GetUsername() != username {
			t.Errorf("got %v, %v, want %s", got, err, username)
		}
	}
}

// checkUnknown has a key refused both ways.
func (c controlPlane) checkUnknown(t *testing.T, token string) {
	t.Helper()
	for _, request := range both(token) {
		got, err := c.IsAuthorized(t.Context(), request)
		checkRefused(t, got, err)
	}
}

// exec changes the database as another process would.
func (c controlPlane) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := c.db.Writer.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// A key that has been authorised is known without the reader, which is gone here, for as long as nothing changes: records
// are no such change.
func TestKeyIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlPlane(t)
		token, _ := c.token(t, "alice")
		c.checkKnown(t, token, "alice")
		if err := c.db.Reader.Close(); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			c.mustStore(t, records(3)...)
			c.checkKnown(t, token, "alice")
			<-time.After(time.Hour)
		}
		// A wrong secret is the database's to judge.
		_, err := c.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{Key: token[:len(token)-1] + "0"})
		if drpcerr.Code(err) != codeUnavailable {
			t.Errorf("got %v", err)
		}
	})
}

// Whatever another process does to a key or its user is known after 100 ms, with traffic or without.
func TestFault047ChangesAreKnown(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  string
		refused bool
		user    string
	}{
		"revoked": {change: `UPDATE api_keys SET revoked_at = 1`, refused: true},
		"expired": {change: `UPDATE api_keys SET expires_at = 1`, refused: true},
		"deleted": {change: `DELETE FROM api_keys`, refused: true},
		"secret":  {change: `UPDATE api_keys SET secret_sha256 = x'00'`, user: "alice"}, // Delegated keys have none.
		"renamed": {change: `UPDATE users SET username = 'ada'`, user: "ada"},
		"owner": {
			change: `UPDATE api_keys SET user_id = (SELECT id FROM users WHERE username = 'bob')`, user: "bob",
		},
	} {
		for _, silence := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c := newControlPlane(t)
					elsewhere := openControlPlane(t, c.path, aibridgedserver.Options{})
					token, key := c.token(t, "alice")
					other, otherKey := c.token(t, "bob")
					c.checkKnown(t, token, "alice")
					elsewhere.exec(t, test.change+` WHERE id IN ($1, $2)`, key.ID, key.UserID)
					for began := time.Now(); time.Since(began) < belief; {
						if !silence {
							_, _ = c.IsAuthorized(t.Context(), both(token)[0]) // Either is right.
						}
						<-time.After(belief / 7)
					}
					switch {
					case name == "secret":
						got, err := c.IsAuthorized(t.Context(), both(token)[0])
						checkRefused(t, got, err)
					case test.refused:
						c.checkUnknown(t, token)
					default:
						c.checkKnown(t, token, test.user)
					}
					c.checkKnown(t, other, otherKey.Username)
				})
			})
		}
	}
}

// A server knows at once what it did itself.
func TestFault047OwnRevocationIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	for range 20 {
		token, key := c.token(t, "alice")
		c.checkKnown(t, token, "alice")
		if err := c.RevokeToken(t.Context(), key.ID); err != nil {
			t.Fatal(err)
		}
		c.checkUnknown(t, token)
	}
}

// A key that is remembered ends in the very microsecond in which it expires.
func TestRememberedKeyExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlPlane(t)
		token, _, err := c.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "alice", Expires: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour - 10*time.Microsecond)
		for range 10 {
			c.checkKnown(t, token, "alice")
			<-time.After(time.Microsecond)
		}
		c.checkUnknown(t, token)
	})
}

// fakeChanges does instead of what a database's own do.
type fakeChanges struct {
	aibridgedserver.Changes

	number func() (uint64, error)
}

func (f fakeChanges) Number(context.Context) (uint64, error) { return f.number() }

// newWithChanges returns a control plane with other changes.
func newWithChanges(t *testing.T, number func() (uint64, error)) controlPlane {
	t.Helper()
	c := newControlPlane(t)
	db := c.db
	db.Changes = nil
	if number != nil {
		db.Changes = fakeChanges{c.db.Changes, number}
	}
	server, err := aibridgedserver.New(t.Context(), db, aibridgedserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return controlPlane{server, db, c.path}
}

// Where nothing can tell whether keys have changed, the database is asked each time.
func TestNothingIsRememberedBlindly(t *testing.T) {
	t.Parallel()
	for name, number := range map[string]func() (uint64, error){
		"no changes": nil, "failing": func() (uint64, error) { return 7, errors.New("disk failed") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newWithChanges(t, number)
			for range 20 {
				token, key := c.token(t, "alice")
				c.checkKnown(t, token, "alice")
				c.exec(t, `UPDATE api_keys SET revoked_at = 1 WHERE id = $1`, key.ID)
				c.checkUnknown(t, token)
			}
		})
	}
}

// A look that hangs makes nobody wait but the one who looks, and no answer is believed for longer because of it.
func TestLookThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var hang atomic.Pointer[chan struct{}]
		c := newWithChanges(t, func() (uint64, error) {
			if until := hang.Load(); until != nil {
				<-*until
			}
			return 7, nil
		})
		token, key := c.token(t, "alice")
		c.checkKnown(t, token, "alice")
		until := make(chan struct{})
		hang.Store(&until)
		<-time.After(belief / 2)
		looked := make(chan error)
		go func() {
			_, err := c.IsAuthorized(t.Context(), both(token)[0])
			looked <- err
		}()
		synctest.Wait()

		c.exec(t, `UPDATE api_keys SET revoked_at = 1 WHERE id = $1`, key.ID)
		began := time.Now()
		c.checkKnown(t, token, "alice") // For so long an answer may be believed.
		<-time.After(belief / 2)
		c.checkUnknown(t, token)
		if waited := time.Since(began); waited != belief/2 {
			t.Errorf("waited %v", waited-belief/2)
		}
		// The one who looked has waited too long to go by what it saw.
		hang.Store(nil)
		<-time.After(belief)
		close(until)
		if err := <-looked; err == nil || err.Error() != "unauthorized" {
			t.Errorf("got %v", err)
		}
	})
}
