package main

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	protobuf "google.golang.org/protobuf/proto"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

// newFeed returns a control plane and the feed of its providers.
func newFeed(t *testing.T, c config) (*plane, *providerFeed) {
	t.Helper()
	p, err := openPlane(t.Context(), settings{dataDir: t.TempDir()}, c, planeOptions{}, slog.Logger{})
	check(t, err)
	f, err := newProviderFeed(p)
	check(t, err)
	t.Cleanup(func() {
		f.close()
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return p, f
}

func ask(t *testing.T, f *providerFeed, version string, wait time.Duration) *proto.GetProvidersResponse {
	t.Helper()
	answer, err := f.GetProviders(t.Context(), &proto.GetProvidersRequest{Version: version, WaitMillis: wait.Milliseconds()})
	check(t, err)
	return answer
}

// TestProviderFeed sends providers of each kind of secret, from which a gateway makes the same ones without a secret of its own.
func TestProviderFeed(t *testing.T) {
	t.Setenv("TEST_KEY", "sk-key")
	t.Setenv("TEST_HEADER", "a value")
	t.Setenv("TEST_AWS", "an-access-key")
	c := config{Providers: []providerConfig{
		{Name: "plain", Type: "anthropic", BaseURL: "http://localhost:1", Keys: []keyConfig{{Key: "${TEST_KEY}"}, {literal: "sk-kept", Account: "x"}}, Headers: map[string]string{"X-A": "${TEST_HEADER}", "X-B": "b"}},
		{Name: "cloud", Type: "bedrock", Bedrock: &bedrockConfig{Region: "us-east-1", Credentials: awsConfig{AccessKeyID: "${TEST_AWS}", SecretAccessKey: "${TEST_KEY}"}}},
		{Name: "off", Type: "openai", Disabled: true, Keys: []keyConfig{{Key: "${NO_SUCH_VARIABLE}"}}},
	}}
	p, f := newFeed(t, c)
	answer := ask(t, f, "", 0)
	t.Setenv("TEST_KEY", "")
	t.Setenv("TEST_HEADER", "")
	t.Setenv("TEST_AWS", "")
	if len(answer.GetProviders()) != len(c.Providers) {
		t.Fatal(answer)
	}
	for _, message := range answer.GetProviders() {
		given := givenBy(message)
		provider, err := given.config.provider(aibridge.ProviderOptions{})
		if given.err != nil || err != nil {
			t.Errorf("%s: %v, %v", given.name, given.err, err)
			continue
		}
		if provider.Disabled() != (given.name == "off") || given.name == "plain" && !provider.HasKey() || given.changedAt.IsZero() {
			t.Errorf("%+v", given)
		}
		if given.name == "plain" {
			keys, err := given.config.keys()
			headers, err2 := given.config.headers()
			if err != nil || err2 != nil || len(keys) != 2 || keys[0].Secret != "sk-key" || keys[1].Secret != "sk-kept" || keys[1].Account != "x" || headers["X-A"] != "a value" || headers["X-B"] != "b" {
				t.Errorf("keys %v, %v; headers %v, %v", keys, err, headers, err2)
			}
		}
		if message.GetDisabled() && len(message.GetSecrets()) > 0 {
			t.Error("the secrets of a provider that is disabled are sent")
		}
		without := givenBy(&proto.Provider{Name: message.GetName(), Type: message.GetType(), Settings: message.GetSettings(), Disabled: message.GetDisabled()})
		if _, err := without.config.provider(aibridge.ProviderOptions{}); err == nil && given.name != "off" {
			t.Errorf("%s: secrets are looked up at the gateway", given.name)
		}
	}

	for name, value := range map[string]string{"TEST_KEY": "sk-key", "TEST_HEADER": "a value", "TEST_AWS": "an-access-key"} {
		t.Setenv(name, value)
	}
	// A provider that the control plane cannot read harms no other, and the gateway says why.
	check(t, p.AddProvider(t.Context(), aibridgedserver.Provider{Name: "broken", Type: "openai", Settings: json.RawMessage(`{"keys":[{"key":"${NO_SUCH_VARIABLE}"}]}`)}))
	answer = ask(t, f, answer.GetVersion(), 10*time.Second)
	for _, message := range answer.GetProviders() {
		if given := givenBy(message); (given.err != nil) != (given.name == "broken") {
			t.Errorf("%s: %v", given.name, given.err)
		}
	}
}

// TestProviderFeedWaits asks for changes: the answer comes with the next one, also one of MCP servers, or after the time that was
// asked for.
func TestProviderFeedWaits(t *testing.T) {
	p, f := newFeed(t, config{})
	first := ask(t, f, "", 0)
	began := time.Now()
	if same := ask(t, f, first.GetVersion(), 30*time.Millisecond); same.GetVersion() != first.GetVersion() || len(same.GetProviders()) != 0 || time.Since(began) < 30*time.Millisecond {
		t.Errorf("without a change: %v after %v", same, time.Since(began))
	}
	if other := ask(t, f, "of another database", time.Minute); !protobuf.Equal(other, first) {
		t.Errorf("another version got %v", other)
	}
	answers := make(chan *proto.GetProvidersResponse)
	go func() { answers <- ask(t, f, first.GetVersion(), time.Minute) }()
	_, err := p.ConfigureMCPServers(t.Context(), []aibridgedserver.MCPServer{{ID: "docs", URL: "http://localhost:1", Everyone: true}})
	check(t, err)
	if next := <-answers; next.GetVersion() == first.GetVersion() {
		t.Error("a change of MCP servers has the same version")
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	second := ask(t, f, "", 0)
	go func() {
		_, err := f.GetProviders(ctx, &proto.GetProvidersRequest{Version: second.GetVersion(), WaitMillis: 1 << 60})
		failed <- err
	}()
	cancel()
	if err := <-failed; err == nil {
		t.Error("a question that was given up has an answer")
	}
}

// TestProviderFeedNotReady asks a control plane that is not ready: a gateway that has providers is told why, also one that
// waits, and one that has none is told of them all the same.
func TestProviderFeedNotReady(t *testing.T) {
	_, f := newFeed(t, config{})
	health := &lossy{}
	found := make(chan struct{}, 1)
	f.ready.check = func(ctx context.Context) error {
		err := health.Writable(ctx)
		select {
		case found <- struct{}{}:
		default:
		}
		return err
	}
	first := ask(t, f, "", 0)
	answers := make(chan error)
	began := time.Now()
	go func() {
		_, err := f.GetProviders(t.Context(), &proto.GetProvidersRequest{Version: first.GetVersion(), WaitMillis: 30_000})
		answers <- err
	}()
	<-found // It is ready, so the question waits.
	health.set(errors.New("the disk of the database is full"))
	err := <-answers
	if drpcerr.Code(err) != rpcstatus.FailedPrecondition || err.Error() != "the disk of the database is full" {
		t.Errorf("while it waited: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it was told after %v", took)
	}
	_, err = f.GetProviders(t.Context(), &proto.GetProvidersRequest{Version: first.GetVersion()})
	if drpcerr.Code(err) != rpcstatus.FailedPrecondition {
		t.Errorf("at once: %v", err)
	}
	if answer := ask(t, f, "", 0); answer.GetVersion() != first.GetVersion() {
		t.Errorf("without providers: %v", answer)
	}
}
