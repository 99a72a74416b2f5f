package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go/v2"
)

const (
	governance = "X-Coder-AI-Governance-Token"
	ownKey     = "sk-own-0123456789-abcd"
	ownHint    = "sk-o...abcd"
)

// TestCredentials sends the gateway's token in each place in which clients send it. The upstream must get the right
// key, and nowhere the token.
func TestCredentials(t *testing.T) {
	program.keepSecret(ownKey)
	ways := []struct {
		name       string
		use        func(*settings, string)
		key        string // The key that goes upstream.
		kind, hint string
	}{
		{name: "as-the-key", use: func(*settings, string) {}, key: providerKey, kind: "centralized", hint: providerHint},
		{
			name: "as-x-api-key", key: providerKey, kind: "centralized", hint: providerHint,
			use: func(s *settings, token string) { s.key, s.header = "", http.Header{"X-Api-Key": {token}} },
		},
		{
			name: "beside-own-key", key: ownKey, kind: "byok", hint: ownHint,
			use: func(s *settings, token string) { s.key, s.header = ownKey, http.Header{governance: {token}} },
		},
	}
	for _, sdk := range sdks() {
		for _, way := range ways {
			t.Run(sdk.name+"/"+way.name, func(t *testing.T) {
				u := newUser(t)
				settings := u.settings(sdk, true)
				settings.base = program.url + strings.Replace(sdk.path, sdk.provider, sdk.provider+"-tapped", 1)
				way.use(&settings, u.token)
				program.tapped.take()
				if _, err := sdk.open(settings).ask(t.Context(), "Hi."); err != nil {
					t.Fatal(err)
				}
				checkUpstream(t, program.tapped.take(), way.key, u.token)
				recorded := u.recorded(t, 1)[0]
				if recorded.CredentialKind != way.kind || recorded.CredentialHint != way.hint ||
					recorded.ProviderName != sdk.provider+"-tapped" || recorded.APIKeyID != u.keyID() {
					t.Errorf("recorded is\n%s", indented(recorded))
				}
			})
		}
	}
}

// checkUpstream checks that an upstream got one request, with that key and without that token.
func checkUpstream(t *testing.T, arrived []passed, key, token string) {
	t.Helper()
	if len(arrived) != 1 {
		t.Fatalf("%d requests went upstream", len(arrived))
	}
	header := arrived[0].header
	keys := append(header.Values("X-Api-Key"), header.Values("Authorization")...)
	if len(keys) != 1 || strings.TrimPrefix(keys[0], "Bearer ") != key {
		t.Errorf("the upstream was given %d keys, or the wrong one", len(keys))
	}
	for name, values := range header {
		if strings.Contains(strings.Join(values, "\n"), token) || strings.EqualFold(name, governance) {
			t.Errorf("the gateway's token went upstream in %s", name)
		}
	}
	if strings.Contains(arrived[0].target, token) {
		t.Error("the gateway's token went upstream in the query")
	}
}

// cacheTime is how long a gateway may take to learn of a change to a token that another process makes.
const cacheTime = 100 * time.Millisecond

// TestRevokedToken revokes a token between two requests.
func TestRevokedToken(t *testing.T) {
	for _, sdk := range sdks() {
		t.Run(sdk.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			if _, err := sdk.open(u.settings(sdk, false)).ask(t.Context(), "Hi."); err != nil {
				t.Fatal(err)
			}
			if _, err := program.run("token", "revoke", u.keyID()); err != nil {
				t.Fatal(err)
			}
			<-time.After(cacheTime)
			_, err := sdk.open(u.settings(sdk, false)).ask(t.Context(), "Hi again.")
			if got := refused(t, err); got.status != http.StatusForbidden || got.message == "" {
				t.Errorf("a revoked token is answered with %+v", got)
			}
			u.token = program.newToken(t, u.name)
			if _, err := sdk.open(u.settings(sdk, false)).ask(t.Context(), "Hi with another."); err != nil {
				t.Errorf("the same user's new token is refused: %v", err)
			}
			u.recorded(t, 2)
		})
	}
}

// TestUnknownToken sends no token, and one that does not exist.
func TestUnknownToken(t *testing.T) {
	for _, sdk := range sdks() {
		for key, status := range map[string]int{"": http.StatusBadRequest, "nobodysown-token": http.StatusForbidden} {
			t.Run(sdk.name+"/"+http.StatusText(status), func(t *testing.T) {
				t.Parallel()
				settings := newUser(t).settings(sdk, true)
				settings.key = key
				if key == "" {
					settings.header = http.Header{"X-Api-Key": {""}} // Some SDKs refuse to send a request without any credential.
				}
				_, err := sdk.open(settings).ask(t.Context(), "Hi.")
				if got := refused(t, err); got.status != status || got.message == "" {
					t.Errorf("it is answered with %+v, want status %d", got, status)
				}
			})
		}
	}
}

// TestMountPoint talks to the gateway below the path at which a host mounts it.
func TestMountPoint(t *testing.T) {
	for _, sdk := range sdks() {
		t.Run(sdk.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			settings := u.settings(sdk, true)
			settings.base = program.url + "/api/v2/aibridged" + sdk.path
			said, err := sdk.open(settings).ask(t.Context(), "Hi.")
			if err != nil {
				t.Fatal(err)
			}
			compare(t, u.recorded(t, 1)[0], said)
		})
	}
}

// TestPassThrough sends requests that are relayed but not recorded.
func TestPassThrough(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	claude := anthropicClient(u.settings(sdks()[0], false))
	counted, err := claude.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{
		Model:    "fake-messages",
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("three words here"))},
	})
	if err != nil || counted.InputTokens == 0 {
		t.Errorf("count_tokens: %v, %v", counted, err)
	}
	theirs, err := claude.Models.List(t.Context(), anthropic.ModelListParams{})
	if err != nil || len(theirs.Data) == 0 {
		t.Errorf("models: %v, %v", theirs, err)
	}
	gpt := openAIClient(u.settings(sdks()[1], false))
	models, err := gpt.Models.List(t.Context())
	if err != nil || len(models.Data) == 0 {
		t.Errorf("models: %v, %v", models, err)
	}
	// Records of these requests would be stored before those of this later one.
	if _, err := openResponses(u.settings(sdks()[2], false)).ask(t.Context(), "Hi."); err != nil {
		t.Fatal(err)
	}
	u.recorded(t, 1)
}
