package aibridgedserver_test

import (
	"errors"
	"testing"

	"github.com/coder/aibridged/aibridgedserver"
)

func TestJoinTokens(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ctx := t.Context()
	for id, secret := range map[string]string{"first": "its secret", "second": "another"} {
		if err := c.AddJoinToken(ctx, id, secret, "name of "+id); err != nil {
			t.Fatal(err)
		}
	}
	valid := func(id, secret string) bool {
		err := c.CheckJoinToken(ctx, id, secret)
		if err != nil && !errors.Is(err, aibridgedserver.ErrInvalidJoinToken) {
			t.Error(err)
		}
		return err == nil
	}
	if !valid("first", "its secret") || !valid("second", "another") {
		t.Error("a token is refused")
	}
	for _, wrong := range [][2]string{{"first", "another"}, {"third", "another"}, {"first", ""}, {"", ""}, {"first", "its secre"}, {"FIRST", "its secret"}} {
		if valid(wrong[0], wrong[1]) {
			t.Errorf("%q is valid", wrong)
		}
	}
	if err := c.RevokeJoinToken(ctx, "third"); !errors.Is(err, aibridgedserver.ErrUnknownJoinToken) {
		t.Errorf("revoking what is not there: %v", err)
	}
	for range 2 {
		if err := c.RevokeJoinToken(ctx, "first"); err != nil {
			t.Fatal(err)
		}
	}
	if valid("first", "its secret") || !valid("second", "another") {
		t.Error("the wrong token is revoked")
	}
	tokens, err := c.JoinTokens(ctx)
	if err != nil || len(tokens) != 2 {
		t.Fatal(tokens, err)
	}
	for _, token := range tokens {
		if token.Name != "name of "+token.ID || token.CreatedAt.IsZero() || (token.RevokedAt != nil) != (token.ID == "first") {
			t.Errorf("%+v", token)
		}
	}
}
