package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOwnKeys has clients bring a key of their own beside the gateway's token, each as its users configure that.
func TestOwnKeys(t *testing.T) {
	program.keepSecret(ownKey)
	const typed = "Say hello. [[text: hello from the model]]"
	for name, ask := range map[string]func(t *testing.T, u *user) (printed string){
		"Claude Code": func(t *testing.T, u *user) string {
			c := newClaudeWith(t, "ANTHROPIC_BASE_URL="+program.url+"/anthropic-tapped", "ANTHROPIC_API_KEY="+ownKey, "ANTHROPIC_CUSTOM_HEADERS="+governance+": "+u.token)
			return strings.Join(c.run(t, "-p", typed, "--output-format", "json"), "\n")
		},
		"Codex": func(t *testing.T, u *user) string {
			c := newClient(t, "codex")
			config := fmt.Sprintf("model = \"gpt-6.1-sol\"\nmodel_provider = \"gateway\"\n[model_providers.gateway]\nname = \"gateway\"\nbase_url = %q\n"+
				"env_key = \"OWN_KEY\"\nwire_api = \"responses\"\nhttp_headers = { %q = %q }\n", program.url+"/openai-tapped/v1", governance, u.token)
			if err := os.WriteFile(filepath.Join(c.home, "config.toml"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			c.environment = append(c.environment, "CODEX_HOME="+c.home, "OWN_KEY="+ownKey)
			return strings.Join(c.run(t, "exec", "--json", "--skip-git-repo-check", typed), "\n")
		},
		"OpenCode": func(t *testing.T, u *user) string {
			c := newClient(t, "opencode")
			config := fmt.Sprintf(`{"autoupdate":false,"share":"disabled","model":"gateway/gpt-5","small_model":"gateway/gpt-5","provider":{"gateway":{
				"npm":"@ai-sdk/openai-compatible","name":"gateway","options":{"baseURL":%q,"apiKey":%q,"headers":{%q:%q}},
				"models":{"gpt-5":{"name":"gpt-5","limit":{"context":100000,"output":4000}}}}}}`, program.url+"/openai-tapped/v1", ownKey, governance, u.token)
			directory := filepath.Join(c.home, ".config", "opencode")
			if err := os.MkdirAll(directory, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(directory, "opencode.json"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			c.environment = append(c.environment, "OPENCODE_DISABLE_MODELS_FETCH=1", "OPENCODE_DISABLE_AUTOUPDATE=1")
			return strings.Join(c.run(t, "run", "--format", "json", typed), "\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			program.tapped.take()
			if printed := ask(t, u); !strings.Contains(printed, "hello from the model") {
				t.Errorf("it printed %s", printed)
			}
			for _, arrived := range program.tapped.take() {
				checkUpstream(t, []passed{arrived}, ownKey, u.token)
			}
			requests := 1
			if name == "OpenCode" { // It also asks for a title.
				requests = 2
			}
			for _, one := range u.recorded(t, requests) {
				if one.CredentialKind != "byok" || one.CredentialHint != ownHint || one.APIKeyID != u.keyID() || !strings.HasPrefix(one.Client, strings.Fields(name)[0]) {
					t.Errorf("recorded is\n%s", indented(one))
				}
			}
		})
	}
}
