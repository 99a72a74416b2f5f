package aibridged_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/fakellm"
)

// A gateway keeps its records on disk while its control plane is away. When the process ends, the next gateway on the
// same directory delivers them.
func ExampleNewServer() {
	directory, err := os.MkdirTemp("", "aibridged-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(directory)
	pool, err := aibridged.NewCachedBridgePool(aibridged.DefaultPoolOptions, nil, slog.Logger{}, nil, noop.NewTracerProvider().Tracer("example"))
	if err != nil {
		fmt.Println(err)
		return
	}
	dialer := controlplane.Network(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:1") // Nobody listens there.
	}, controlplane.NetworkOptions{})
	server, err := aibridged.NewServer(context.Background(), pool, dialer, aibridged.ServerOptions{
		Records: aibridged.RecordOptions{Directory: directory, Durability: aibridged.DurabilitySync, WhenFull: aibridged.WhenFullRefuse},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(server.Close())
	// Output:
	// <nil>
}

// A whole gateway within a program: a control plane over SQLite, a provider, and a request by one of its users.
func Example() {
	ctx := context.Background()
	upstream := httptest.NewServer(fakellm.New(fakellm.Options{})) // In place of https://api.anthropic.com.
	defer upstream.Close()
	directory, err := os.MkdirTemp("", "aibridged-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(directory)

	db, err := sqlite.Open(ctx, filepath.Join(directory, "aibridged.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	control, err := aibridgedserver.New(ctx, db, aibridgedserver.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer control.Close()
	token, _, err := control.CreateToken(ctx, aibridgedserver.TokenParams{Username: "ada"})
	if err != nil {
		fmt.Println(err)
		return
	}

	logger, tracer := slog.Logger{}, noop.NewTracerProvider().Tracer("example")
	provider, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{BaseURL: upstream.URL, Key: "the provider's key"})
	if err != nil {
		fmt.Println(err)
		return
	}
	pool, err := aibridged.NewCachedBridgePool(aibridged.DefaultPoolOptions, []aibridge.Provider{provider}, logger, nil, tracer)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := aibridged.New(ctx, pool, controlplane.InProcess(control), logger, tracer)
	if err != nil {
		fmt.Println(err)
		return
	}
	gateway := httptest.NewServer(server)
	defer gateway.Close()

	body := `{"model":"claude-x","max_tokens":100,"messages":[{"role":"user","content":"Hello [[text: Hi, Ada.]] [[usage: input=7 output=5]]"}]}`
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway.URL+"/anthropic/v1/messages", strings.NewReader(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	request.Header.Set("X-Api-Key", token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	fmt.Println(response.Status)

	_ = server.Close() // From here on everything is recorded.
	for interception, err := range control.Interceptions(ctx, aibridgedserver.InterceptionFilter{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		usage := interception.TokenUsages[0]
		fmt.Printf("%s asked %s: %d tokens in, %d out\n", interception.Initiator, interception.Model, usage.InputTokens, usage.OutputTokens)
	}
	// Output:
	// 200 OK
	// ada asked claude-x: 7 tokens in, 5 out
}
