package aibridgedserver_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/aibridged/aibridgedserver"
)

// keyRing is the keys of the servers of a test.
type keyRing struct {
	keys atomic.Pointer[[]aibridgedserver.EncryptionKey]
}

func (r *keyRing) set(first ...byte) {
	keys := make([]aibridgedserver.EncryptionKey, len(first))
	for i := range keys {
		keys[i][0] = first[i]
	}
	r.keys.Store(&keys)
}

func (r *keyRing) options() aibridgedserver.Options {
	return aibridgedserver.Options{EncryptionKeys: func(bool) ([]aibridgedserver.EncryptionKey, error) { return *r.keys.Load(), nil }}
}

// files returns all bytes of a database.
func files(t *testing.T, path string) string {
	t.Helper()
	var all strings.Builder
	found, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// tokenOf returns ada's own token for the server m.
func (c controlPlane) tokenOf(t *testing.T, user string) string {
	t.Helper()
	tokens, _ := c.mcpTokens(t, user, "m")
	return tokens["m"]
}

// withSecret is a provider whose settings refer to a secret that is new.
func withSecret(name, secret string) (aibridgedserver.Provider, string) {
	reference := aibridgedserver.NewSecretReference()
	return aibridgedserver.Provider{
		Name: name, Type: "openai", Settings: json.RawMessage(`{"keys":["` + reference + `"]}`), Secrets: map[string]string{reference: secret},
	}, reference
}

// TestSecretsAtRest follows secrets through a key's life: none, the first, a rotation beside a server that runs, and the loss.
func TestSecretsAtRest(t *testing.T) {
	t.Parallel()
	ctx, plain := t.Context(), newControlPlane(t)
	_, ada := plain.token(t, "ada")
	plain.configure(t, mcpServer("m", ""))
	if err := plain.SetMCPToken(ctx, "ada", "m", "tok-from-an-earlier-version"); err != nil {
		t.Fatal(err)
	}
	var ring keyRing
	ring.set(1)
	one := openControlPlane(t, plain.path, ring.options())
	var stored string
	if err := plain.db.Reader.QueryRowContext(ctx, `SELECT access_token FROM mcp_access_tokens`).Scan(&stored); err != nil || strings.Contains(stored, "tok-") {
		t.Errorf("the token of an earlier version is stored as %q, %v", stored, err)
	}
	if got := one.tokenOf(t, ada.UserID); got != "tok-from-an-earlier-version" {
		t.Errorf("got %q", got)
	}
	if err := one.SetMCPToken(ctx, "ada", "m", "tok-that-is-sealed"); err != nil {
		t.Fatal(err)
	}
	p, reference := withSecret("p", "key-that-is-sealed")
	if err := one.AddProvider(ctx, p); err != nil {
		t.Fatal(err)
	}
	read := func(c controlPlane, want string) {
		t.Helper()
		if got, err := c.Secret(ctx, reference); err != nil || got != want || c.tokenOf(t, ada.UserID) != "tok-that-is-sealed" {
			t.Errorf("got %q, %v and %q", got, err, c.tokenOf(t, ada.UserID))
		}
	}
	read(one, "key-that-is-sealed")
	if all := files(t, plain.path); strings.Contains(all, "that-is-sealed") {
		t.Error("a secret is in the database as it is")
	}

	ring.set(2, 1) // A new key, before the old one.
	two := openControlPlane(t, plain.path, ring.options())
	read(two, "key-that-is-sealed")
	if _, err := two.RotateSecrets(ctx, false); err != nil {
		t.Fatal(err)
	}
	ring.set(2)
	read(two, "key-that-is-sealed")
	read(one, "key-that-is-sealed") // It asks for the keys anew.
	if err := one.SetMCPToken(ctx, "ada", "m", "tok-that-is-sealed"); err != nil {
		t.Fatal(err)
	}
	read(openControlPlane(t, plain.path, ring.options()), "key-that-is-sealed")

	// A row in the place of another one cannot be read.
	if _, err := plain.db.Writer.ExecContext(ctx, `INSERT INTO kept_secrets SELECT 'other', owner, sealed FROM kept_secrets`); err != nil {
		t.Fatal(err)
	}
	if got, err := one.Secret(ctx, "secret:other"); err == nil || got != "" {
		t.Errorf("a row that was moved: %q, %v", got, err)
	}
	if _, err := two.RotateSecrets(ctx, false); err == nil {
		t.Error("a secret that cannot be read was passed over")
	}

	ring.set(3) // The key is lost.
	lost := ring.options()
	if _, err := aibridgedserver.New(ctx, plain.db, lost); !errors.Is(err, aibridgedserver.ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
	lost.Unchecked = true
	three := openControlPlane(t, plain.path, lost)
	if dropped, err := three.RotateSecrets(ctx, true); err != nil || dropped != 3 {
		t.Errorf("dropped %d, %v", dropped, err)
	}
	if _, err := three.Secret(ctx, reference); err == nil || !strings.Contains(err.Error(), "no longer in the database") {
		t.Errorf("a dropped secret: %v", err)
	}
	openControlPlane(t, plain.path, ring.options())
}

// TestSecretsGoWithTheirOwners checks that no secret is left behind that nothing refers to.
func TestSecretsGoWithTheirOwners(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), newControlPlane(t)
	count := func(want int) {
		t.Helper()
		var n int
		if err := c.db.Reader.QueryRowContext(ctx, `SELECT count(*) FROM kept_secrets`).Scan(&n); err != nil || n != want {
			t.Errorf("%d secrets, %v, want %d", n, err, want)
		}
	}
	p, _ := withSecret("p", "one")
	q, _ := withSecret("q", "other")
	if err := errors.Join(c.AddProvider(ctx, p), c.AddProvider(ctx, q)); err != nil {
		t.Fatal(err)
	}
	count(2)
	replaced, reference := withSecret("p", "two")
	err := c.ChangeProvider(ctx, "p", func(p *aibridgedserver.Provider) error {
		p.Settings, p.Secrets = replaced.Settings, replaced.Secrets
		return nil
	})
	if got, failed := c.Secret(ctx, reference); err != nil || failed != nil || got != "two" {
		t.Errorf("replaced: %q, %v, %v", got, err, failed)
	}
	count(2)
	if err := c.RemoveProvider(ctx, "p"); err != nil {
		t.Fatal(err)
	}
	count(1)
	token := aibridgedserver.NewSecretReference()
	err = c.AddMCPServer(ctx, aibridgedserver.StoredMCPServer{MCPServer: mcpServer("m", token), Secrets: map[string]string{token: "tok"}})
	if err != nil {
		t.Fatal(err)
	}
	if tokens, failures := c.mcpTokens(t, newID(), "m"); tokens["m"] != "tok" {
		t.Errorf("token %v, %v", tokens, failures)
	}
	count(2)
	if err := c.RemoveMCPServer(ctx, "m"); err != nil {
		t.Fatal(err)
	}
	count(1)
	stray, _ := withSecret("r", "three")
	stray.Settings = nil
	if err := c.AddProvider(ctx, stray); err == nil {
		t.Error("a secret that nothing refers to was taken")
	}
}

// A server does not start with secrets that it cannot read, also if the key that the database names is there: an import of an earlier
// version left them so.
func TestStartNeedsTheKeyOfEachSecret(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var one, two keyRing
	one.set(1)
	two.set(2)
	from := openControlPlane(t, newControlPlane(t).path, one.options())
	p, reference := withSecret("p", "key-1")
	from.must(t, from.AddProvider(ctx, p))
	to := openControlPlane(t, newControlPlane(t).path, two.options())
	if _, err := to.Import(ctx, eachRow(from.exported(t))); !errors.Is(err, aibridgedserver.ErrWrongKey) {
		t.Errorf("without the key: %v", err)
	}
	if _, err := to.Import(ctx, eachRow(from.exported(t)[1:])); !errors.Is(err, aibridgedserver.ErrWrongKey) { // Of an earlier version.
		t.Errorf("without the key, and the row that names it: %v", err)
	}
	two.set(2, 1)
	to.mustImport(t, from.exported(t))
	if got, err := to.Secret(ctx, reference); err != nil || got != "key-1" {
		t.Errorf("got %q, %v", got, err)
	}
	two.set(2)
	if _, err := aibridgedserver.New(ctx, to.db, two.options()); !errors.Is(err, aibridgedserver.ErrWrongKey) {
		t.Errorf("with the key of the database alone: %v", err)
	}
	two.set(2, 1)
	openControlPlane(t, to.path, two.options())
}
