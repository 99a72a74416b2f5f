package crashtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
)

// newProbedUpstream starts the upstream of the provider that a test changes. It answers with the path of the request.
func newProbedUpstream(t *testing.T) *httptest.Server {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	t.Cleanup(upstream.Close)
	return upstream
}

// change is what somebody changes at the control plane: a provider, and the tokens of a user.
type change struct {
	path    string // The provider's.
	made    string // A new token.
	revoked string // A token that was valid before.
}

// change makes a change in the database, which may be away for a time. Old is the token to revoke.
func (f *fleet) change(number int, old string) (change, error) {
	c := change{path: fmt.Sprintf("/change-%d", number), revoked: old}
	id, _, _ := strings.Cut(old, "-")
	err := errors.Join(
		f.persist(func(ctx context.Context) error {
			return f.store.ChangeProvider(ctx, "probed", func(p *aibridgedserver.Provider) error {
				p.BaseURL = f.probed.URL + c.path
				return nil
			})
		}),
		f.persist(func(ctx context.Context) error { return f.store.RevokeToken(ctx, id) }),
		f.persist(func(ctx context.Context) (err error) {
			c.made, _, err = f.store.CreateToken(ctx, aibridgedserver.TokenParams{Username: "prober"})
			return err
		}),
	)
	return c, err
}

// persist calls do until it succeeds.
func (f *fleet) persist(do func(context.Context) error) error {
	for began := time.Now(); ; {
		err := do(f.ctx)
		if err == nil || time.Since(began) > clientPatience || !pause(f.ctx, 50*time.Millisecond) {
			return err
		}
	}
}

// probe asks a gateway, without the balancer, for something that the provider answers with its path, and of which nothing
// is recorded.
func (f *fleet) probe(g *gatewayMember, token string) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.address+"/probed/v1/models", nil)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("X-Api-Key", token)
	response, err := f.front.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerMax))
	return response.StatusCode, string(body), err
}

// differs returns what is not as a change says on a gateway, or nil.
func (f *fleet) differs(g *gatewayMember, c change) error {
	status, answer, err := f.probe(g, c.made)
	if err != nil || status != http.StatusOK || !strings.HasPrefix(answer, c.path+"/") {
		return fmt.Errorf("%s: a new token and the provider changed to %q: %d %.200s %v", g.role, c.path, status, answer, err)
	}
	if c.revoked == "" {
		return nil
	}
	if status, answer, err = f.probe(g, c.revoked); err != nil || status != http.StatusForbidden {
		return fmt.Errorf("%s: a revoked token: %d %.200s %v", g.role, status, answer, err)
	}
	return nil
}
