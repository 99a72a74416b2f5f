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

// both returns the two requests that can present a token: as a whole, and delegated by its id.
func both(token string) []*proto.IsAuthorizedRequest {
	id, _, _ := strings.Cut(token, "-")
	return []*proto.IsAuthorizedRequest{{Key: token}, {KeyId: id}}
}

// checkKnown checks that a token is authorised both ways.
func (c controlPlane) checkKnown(t *testing.T, token, username string) {
	t.Helper()
	for _, request := range both(token) {
		got, err := c.IsAuthorized(t.Context(), request)
		if err != nil || got.GetUsername() != username {
			t.Errorf("got %v, %v, want %s", got, err, username)
		}
	}
}

// checkUnknown checks that a token is refused both ways.
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

// An authorised key is remembered until keys or users change: the reader is closed here, so the database cannot answer.
// New records are no such change.
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
		// A wrong secret is not remembered, so the database is asked.
		_, err := c.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{Key: token[:len(token)-1] + "0"})
		if drpcerr.Code(err) != codeUnavailable {
			t.Errorf("got %v", err)
		}
	})
}

// Each kind of change that another process makes to a key or its user takes effect within 100 ms, with and without
// traffic.
func TestFault047ChangesAreKnown(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  string
		refused bool
		user    string
	}{
		"revoked": {change: `UPDATE api_keys SET revoked_at = created_at`, refused: true},
		"expired": {change: `UPDATE api_keys SET expires_at = created_at`, refused: true},
		"deleted": {change: `DELETE FROM api_keys`, refused: true},
		"secret":  {change: `UPDATE api_keys SET secret_sha256 = ` + engine.Text(`x'00'`, `'\x00'`), user: "alice"}, // A delegated key has no secret, so it stays good.
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
					changed := key.ID
					if strings.Contains(test.change, "UPDATE users") {
						changed = key.UserID
					}
					elsewhere.exec(t, test.change+` WHERE id = $1`, changed)
					for began := time.Now(); time.Since(began) < belief; {
						if !silence {
							_, _ = c.IsAuthorized(t.Context(), both(token)[0]) // Both answers are right here.
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

// A server's own revocation takes effect at once.
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

// A remembered key is refused from the microsecond on in which it expires.
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

// fakeChanges replaces a database's own Changes.
type fakeChanges struct {
	aibridgedserver.Changes

	number func() (uint64, error)
}

func (f fakeChanges) Number(context.Context) (uint64, error) { return f.number() }

// newWithChanges returns a control plane with Changes whose Number is number.
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

// If nothing can tell whether keys have changed, each authorisation asks the database.
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
				c.exec(t, `UPDATE api_keys SET revoked_at = created_at WHERE id = $1`, key.ID)
				c.checkUnknown(t, token)
			}
		})
	}
}

// When a look for changes hangs, only the request that looks waits for it, and no answer is used for longer than usual.
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

		c.exec(t, `UPDATE api_keys SET revoked_at = created_at WHERE id = $1`, key.ID)
		began := time.Now()
		c.checkKnown(t, token, "alice") // The answer may still be used.
		<-time.After(belief / 2)
		c.checkUnknown(t, token)
		if waited := time.Since(began); waited != belief/2 {
			t.Errorf("waited %v", waited-belief/2)
		}
		// The look took too long for its result to be used.
		hang.Store(nil)
		<-time.After(belief)
		close(until)
		if err := <-looked; err == nil || err.Error() != "unauthorized" {
			t.Errorf("got %v", err)
		}
	})
}
