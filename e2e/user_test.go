package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// user is someone with a token for the gateway. Each run of a test has its own, so that tests never see each other's
// records.
type user struct {
	of    *installation
	name  string
	token string
	http  *http.Client
}

func newUser(t *testing.T) *user {
	t.Helper()
	return program.newUser(t)
}

func (i *installation) newUser(t *testing.T) *user {
	t.Helper()
	name := i.newName(t.Name())
	u := &user{of: i, name: name, token: i.newToken(t, name), http: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(u.http.CloseIdleConnections)
	return u
}

// keyID is the public part of the user's token.
func (u *user) keyID() string {
	id, _, _ := strings.Cut(u.token, "-")
	return id
}
