package e2e

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"
)

// azureResource stands for a resource of Azure OpenAI: it takes requests in Azure's layouts alone, with a key in Azure's header, and
// has the scripted upstream answer them.
type azureResource struct {
	*tap

	mu    sync.Mutex
	asked []string // What was asked for, with the query. Guarded by mu.
}

var azurePath = regexp.MustCompile(`^/openai/(?:deployments/[^/]+|v1)/(.*)$`)

// newAzureResource returns a resource before the server at address. The caller closes it.
func newAzureResource(address string) (*azureResource, error) {
	passing, err := newTap(address)
	if err != nil {
		return nil, err
	}
	a := &azureResource{tap: passing}
	next := passing.Config.Handler
	passing.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.asked = append(a.asked, r.URL.RequestURI())
		a.mu.Unlock()
		match := azurePath.FindStringSubmatch(r.URL.Path)
		if match == nil || r.Header.Get("Api-Key") != providerKey && r.Header.Get("Api-Key") != ownKey {
			http.Error(w, `{"error":{"code":"401","message":"no such resource, or no key"}}`, http.StatusUnauthorized)
			return
		}
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/v1/"+match[1], "", ""
		r.Header.Set("Authorization", "Bearer "+r.Header.Get("Api-Key")) // As the scripted upstream wants it.
		next.ServeHTTP(w, r)
	})
	return a, nil
}

func (a *azureResource) takeAsked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}

// accessToken is a token of the gateway in the place of an access token of Azure.
type accessToken string

// GetToken implements [azcore.TokenCredential].
func (a accessToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(a), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestAzure has openai-go speak Azure's layouts through the gateway, with the gateway's key and with one of the caller's own.
func TestAzure(t *testing.T) {
	program.keepSecret(ownKey)
	for name, test := range map[string]struct {
		version, want, kind string
		options             func(token string) []option.RequestOption
	}{
		"classic": {"2024-10-21", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "centralized", func(token string) []option.RequestOption {
			return []option.RequestOption{azure.WithUnsafeAllowHTTP(), azure.WithTokenCredential(accessToken(token))}
		}},
		"own key": {"2024-10-21", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "byok", func(token string) []option.RequestOption {
			return []option.RequestOption{azure.WithUnsafeAllowHTTP(), azure.WithAPIKey(ownKey), option.WithHeader(governance, token)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			sdk := openai.NewClient(append([]option.RequestOption{azure.WithEndpoint(program.url+"/azure", test.version)}, test.options(u.token)...)...)
			program.azure.takeAsked()
			answer, err := sdk.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{
				Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hi. [[text: from a deployment]]")},
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := answer.Choices[0].Message.Content; got != "from a deployment" {
				t.Errorf("the answer is %q", got)
			}
			if asked := program.azure.takeAsked(); !slices.Equal(asked, []string{test.want}) {
				t.Errorf("the resource was asked for %q", asked)
			}
			recorded := u.recorded(t, 1)[0]
			if recorded.Provider != "azure" || recorded.CredentialKind != test.kind || recorded.Model == "" || len(recorded.TokenUsages) != 1 {
				t.Errorf("recorded is\n%s", indented(recorded))
			}
		})
	}
}
