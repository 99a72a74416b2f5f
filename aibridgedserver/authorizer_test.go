package aibridgedserver_test

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// codeUnavailable is the code by which a gateway recognises an unavailable control plane.
const codeUnavailable = 14

func TestIsAuthorized(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	token, key := c.token(t, "alice")
	otherToken, other := c.token(t, "bob")
	id, secret, _ := strings.Cut(token, "-")
	_, otherSecret, _ := strings.Cut(otherToken, "-")

	for name, test := range map[string]struct {
		request *proto.IsAuthorizedRequest
		want    *aibridgedserver.APIKey
	}{
		"token":                       {&proto.IsAuthorizedRequest{Key: token}, &key},
		"delegated":                   {&proto.IsAuthorizedRequest{KeyId: id}, &key},
		"another user":                {&proto.IsAuthorizedRequest{Key: otherToken}, &other},
		"nothing":                     {&proto.IsAuthorizedRequest{}, nil},
		"nil":                         {nil, nil},
		"both":                        {&proto.IsAuthorizedRequest{Key: token, KeyId: id}, nil},
		"unknown id":                  {&proto.IsAuthorizedRequest{Key: "0000000000-" + secret}, nil},
		"unknown delegated id":        {&proto.IsAuthorizedRequest{KeyId: "0000000000"}, nil},
		"id alone":                    {&proto.IsAuthorizedRequest{Key: id}, nil},
		"id and dash":                 {&proto.IsAuthorizedRequest{Key: id + "-"}, nil},
		"delegated token":             {&proto.IsAuthorizedRequest{KeyId: token}, nil},
		"fault 48: same beginning":    {&proto.IsAuthorizedRequest{Key: token[:len(token)-1] + "0"}, nil},
		"fault 48: shorter":           {&proto.IsAuthorizedRequest{Key: token[:len(token)-1]}, nil},
		"fault 48: longer":            {&proto.IsAuthorizedRequest{Key: token + "0"}, nil},
		"fault 48: another's secret":  {&proto.IsAuthorizedRequest{Key: id + "-" + otherSecret}, nil},
		"fault 45: another case":      {&proto.IsAuthorizedRequest{Key: id + "-" + strings.ToLower(secret)}, nil},
		"fault 45: blank in front":    {&proto.IsAuthorizedRequest{Key: " " + token}, nil},
		"fault 45: NUL behind":        {&proto.IsAuthorizedRequest{Key: token + "\x00"}, nil},
		"fault 45: pattern for an id": {&proto.IsAuthorizedRequest{KeyId: "%%%%%%%%%%"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := c.IsAuthorized(t.Context(), test.request)
			if test.want == nil {
				checkRefused(t, got, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.GetOwnerId() != test.want.UserID || got.GetApiKeyId() != test.want.ID ||
				got.GetUsername() != test.want.Username {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func checkRefused(t *testing.T, got *proto.IsAuthorizedResponse, err error) {
	t.Helper()
	if err == nil || err.Error() != "unauthorized" || drpcerr.Code(err) != 0 || got != nil {
		t.Errorf("got %v, %v (code %d), want a refusal", got, err, drpcerr.Code(err))
	}
}

// The server refuses what cannot be a key without asking the database. The database is closed here, so asking it would
// give another error.
func TestFault045OddKeysNeverReachTheDatabase(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	token, key := c.token(t, "alice")
	if err := c.db.Reader.Close(); err != nil {
		t.Fatal(err)
	}
	for _, odd := range []string{
		"", "'", `"`, "' OR 1=1 --", "abcdefghij", "abcdefghij-", "abcdefghij-short", "abcdefghi-" + strings.Repeat("a", 26),
		"abcdefghij-" + strings.Repeat("a", 25) + " ", "äbcdefghi-" + strings.Repeat("a", 26), "\xff\xfe",
		"abcdefghij-" + strings.Repeat("a", 1024), strings.Repeat("a", 100_000), "abcdefghij-" + strings.Repeat("-", 26),
	} {
		got, err := c.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{Key: odd})
		checkRefused(t, got, err)
		got, err = c.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{KeyId: odd + "!"})
		checkRefused(t, got, err)
	}
	for _, request := range []*proto.IsAuthorizedRequest{{Key: token}, {KeyId: key.ID}} {
		_, err := c.IsAuthorized(t.Context(), request)
		if drpcerr.Code(err) != codeUnavailable {
			t.Errorf("without a database: got %v with code %d", err, drpcerr.Code(err))
		}
		if strings.Contains(err.Error(), token) {
			t.Errorf("error holds the token: %v", err)
		}
	}
}

func TestExpiredKeyIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlPlane(t)
		token, key, err := c.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "alice", Expires: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if want := time.Now().Add(time.Hour); !key.ExpiresAt.Equal(want) {
			t.Errorf("expires at %v, want %v", key.ExpiresAt, want)
		}
		<-time.After(time.Hour - time.Microsecond)
		if _, err := c.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{Key: token}); err != nil {
			t.Errorf("before its end: %v", err)
		}
		<-time.After(time.Microsecond)
		got, err := c.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{Key: token})
		checkRefused(t, got, err)
		got, err = c.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{KeyId: key.ID})
		checkRefused(t, got, err)
	})
}

// Only a text that has the form of a key reaches the database. The database is closed here, so the error shows whether
// the server asked it.
func FuzzFault045Key(f *testing.F) {
	c := newControlPlane(f)
	token, _ := c.token(f, "alice")
	if err := c.db.Reader.Close(); err != nil {
		f.Fatal(err)
	}
	form := regexp.MustCompile(`^[0-9A-Za-z]{10}-[0-9A-Za-z]{22,}$`)
	for _, seed := range []string{token, "", "-", token + "-", token + "\n", "sk-ant-api03-x", strings.Repeat("a", 1025)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		_, err := c.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{Key: key})
		wellFormed := len(key) <= 1024 && form.MatchString(key)
		if asked := drpcerr.Code(err) == codeUnavailable; asked != wellFormed {
			t.Errorf("key %q: asked the database: %v", key, asked)
		}
		if err == nil {
			t.Errorf("key %q is let in", key)
		}
	})
}
