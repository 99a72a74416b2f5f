package aibridge

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/wire/chat"
	"github.com/coder/aibridged/internal/wire/embeddings"
	"github.com/coder/aibridged/internal/wire/responses"
)

// AzureOptions is what a provider of type "azure" needs. The base URL in it is the address of the resource, for example
// https://NAME.openai.azure.com, without the path of an API. Its zero value beyond that is the v1 layout.
type AzureOptions struct {
	ProviderOptions

	// APIVersion is the api-version of requests that come without one. A dated one, such as "2024-10-21", chooses the classic
	// layout, with a deployment in the path. Empty, "preview", "latest" or "v1" is the v1 layout, which refuses dated ones.
	APIVersion string
	// Deployments names the deployments of models, for the classic layout. A model that is not in it has a deployment of its
	// own name.
	Deployments map[string]string
}

// NewAzureProvider returns a provider of type "azure": OpenAI's APIs on a resource of Azure. Clients may send OpenAI's own
// paths, which it puts into the layout of the resource, or either layout's, which go upstream as they are.
func NewAzureProvider(name string, options AzureOptions) (Provider, error) {
	layout := azureLayout{version: options.APIVersion, deployments: maps.Clone(options.Deployments)}
	if err := layout.check(); err != nil {
		return Provider{}, fmt.Errorf("provider %q: %w", name, err)
	}
	return newProvider(providerKind{
		name:      "azure",
		routes:    azureRoutes(),
		shape:     apierror.OpenAI(),
		setKey:    setAzureKey,
		keyHeader: "Api-Key",
		locate:    layout.locate,
	}, name, options.ProviderOptions)
}

func azureRoutes() []route {
	chatFormat, responsesFormat, embeddingsFormat := chat.Format(), responses.Format(), embeddings.Format()
	stored := responses.Stored()
	routes := append(openAIRoutes("/v1"), openAIRoutes("/openai/v1")...)
	return append(routes,
		route{method: http.MethodPost, path: "/openai/deployments/{deployment}/chat/completions", format: &chatFormat},
		route{method: http.MethodPost, path: "/openai/deployments/{deployment}/embeddings", format: &embeddingsFormat},
		route{method: http.MethodPost, path: "/openai/responses", format: &responsesFormat},
		route{method: http.MethodGet, path: "/openai/responses/{response_id}", stored: &stored},
		route{method: http.MethodDelete, path: "/openai/responses/{response_id}"},
		route{method: http.MethodPost, path: "/openai/responses/{response_id}/cancel", stored: &stored},
		route{method: http.MethodGet, path: "/openai/responses/{response_id}/input_items"},
		route{method: http.MethodGet, path: "/openai/models"},
		route{method: http.MethodGet, path: "/openai/models/"},
	)
}

// setAzureKey sets the header that Azure expects: Authorization for a token of Entra ID, which is a JSON Web Token, and
// Api-Key for a key.
func setAzureKey(header http.Header, key Key) {
	if strings.HasPrefix(key.Secret, "eyJ") {
		setBearer(header, key)
		return
	}
	header.Set("Api-Key", key.Secret)
}

// azureLayout says where the APIs of a resource are.
type azureLayout struct {
	version     string
	deployments map[string]string
}

var azureVersion = regexp.MustCompile(`^(?:|v1|preview|latest|\d{4}-\d{2}-\d{2}(?:-preview)?)$`)

func (l azureLayout) check() error {
	if !azureVersion.MatchString(l.version) {
		return fmt.Errorf("api version %q: write a date such as 2024-10-21 for the classic layout, or preview, or nothing", l.version)
	}
	for model, deployment := range l.deployments {
		if !isSegment(deployment) {
			return fmt.Errorf("deployment %q of model %q cannot be a part of a path", deployment, model)
		}
	}
	return nil
}

// isClassic reports whether deployments are in the paths of this layout.
func (l azureLayout) isClassic() bool {
	return l.version != "" && '0' <= l.version[0] && l.version[0] <= '9'
}

// locate implements the field of the same name of [providerKind].
func (l azureLayout) locate(path, query, model string) (string, string, error) {
	rest, isOpenAI := strings.CutPrefix(path, "/v1/")
	isV1 := !l.isClassic()
	switch {
	case !isOpenAI:
		isV1 = strings.HasPrefix(path, "/openai/v1/")
	case isV1:
		path = "/openai" + path
	case rest == "chat/completions" || rest == "embeddings":
		deployment, ok := l.deployments[model]
		if !ok {
			deployment = model
		}
		if !isSegment(deployment) {
			return "", "", &apierror.Error{Status: http.StatusBadRequest, Text: "the model names no deployment"}
		}
		path = "/openai/deployments/" + url.PathEscape(deployment) + "/" + rest
	default:
		path = "/openai/" + rest
	}
	if l.version != "" && isV1 != l.isClassic() && !hasParameter(query, "api-version") {
		if query != "" {
			query += "&"
		}
		query += "api-version=" + l.version
	}
	return path, query, nil
}

// isSegment reports whether a name can be a segment of a path, once it is escaped.
func isSegment(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\") && judgePath("/"+url.PathEscape(name)) == nil
}

func hasParameter(query, name string) bool {
	for parameter := range strings.SplitSeq(query, "&") {
		if key, _, _ := strings.Cut(parameter, "="); key == name {
			return true
		}
	}
	return false
}
