package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakellm"
	"github.com/coder/aibridged/internal/fakemcp"
)

func newDemoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Try everything without a key or a network: twelve conversations, and a check of their records",
		Long: `demo starts a scripted upstream, an MCP server with one tool, and a gateway on free ports, with a data
directory that is removed afterwards. It sends two conversations in each format, streamed and not, through
the gateway: in one the model calls a tool of the client, in the other the tool of the MCP server, which the
gateway runs. It prints what was recorded, and succeeds only if that equals what was scripted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), cmd.OutOrStdout())
		},
	}
}

// demoUser is the user who sends the demo's requests.
const demoUser = "demo"

// demoPatience is how long demo waits for records. They normally arrive within milliseconds.
const demoPatience = 10 * time.Second

// The prompts of the conversations, with directives for the upstream.
const (
	demoScript = `What is in this directory? [[think: A listing will tell.]] [[text: Let me look.]] ` +
		`[[tool: list_files {"path":"."}]] [[usage: input=120 output=34 cache_read=1000 cache_write=200]]`
	demoToolScript = `Where is the cache? [[text: I search for it.]] [[tool: bmcp_docs_search {"query":"cache"}]] ` +
		`[[usage: input=40 output=12 cache_read=1000]] [[then]] [[text: It is in cache.go.]] [[usage: input=60 output=9 cache_read=1052]]`
)

// demoTool is the tool of the MCP server.
func demoTool() fakemcp.Tool {
	return fakemcp.Tool{
		Name: "search", Description: "Searches the documentation.",
		InputSchema: json.RawMessage(`{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}`),
		Results:     []json.RawMessage{json.RawMessage(`{"content":[{"type":"text","text":"cache.go: Package cache keeps what was read."}]}`)},
	}
}

// demoFormat holds the parts of a format's requests.
type demoFormat struct {
	name, path, tools, body string
}

func demoFormats() []demoFormat {
	return []demoFormat{
		{
			name: "messages", path: "/anthropic/v1/messages",
			tools: `[{"name":"list_files","input_schema":{"type":"object"}}]`,
			body:  `{"model":"fake-messages","max_tokens":1000,"stream":%t,"tools":%s,"messages":[{"role":"user","content":%s}]}`,
		},
		{
			name: "chat", path: "/openai/v1/chat/completions",
			tools: `[{"type":"function","function":{"name":"list_files"}}]`,
			body:  `{"model":"fake-chat","stream":%t,"tools":%s,"messages":[{"role":"user","content":%s}]}`,
		},
		{
			name: "responses", path: "/openai/v1/responses",
			tools: `[{"type":"function","name":"list_files","parameters":{"type":"object"}}]`,
			body:  `{"model":"fake-responses","stream":%t,"tools":%s,"input":[{"role":"user","content":%s}]}`,
		},
	}
}

func demo(ctx context.Context, out io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	directory, err := os.MkdirTemp("", "aibridged-demo-")
	if err != nil {
		cancel()
		return err
	}
	var running sync.WaitGroup
	defer func() {
		cancel()
		running.Wait()
		err = errors.Join(err, os.RemoveAll(directory))
	}()

	llm, tools := fakellm.New(fakellm.Options{}), fakemcp.New(demoTool())
	llmListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	running.Go(func() { _ = serveUntil(ctx, llmListener, llm) }) // If it fails, every conversation fails.
	toolsListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	running.Go(func() { _ = serveUntil(ctx, toolsListener, tools) })
	toolsURL := "http://" + toolsListener.Addr().String()

	settings := settings{dataDir: directory}
	config := demoConfig(llmListener.Addr().String())
	config.MCPServers = []mcpServerConfig{{ID: "docs", URL: toolsURL}}
	g, err := newGateway(ctx, settings, config, gatewayOptions{})
	if err != nil {
		return err
	}
	gatewayListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, g.close(ctx))
	}
	token, _, err := g.plane.CreateToken(ctx, aibridgedserver.TokenParams{Username: demoUser})
	if err != nil {
		return errors.Join(err, g.close(ctx))
	}
	base := "http://" + gatewayListener.Addr().String()
	running.Go(func() { _ = g.serve(ctx, gatewayListener, nil) })
	fmt.Fprintf(out, "A scripted upstream on http://%s, a gateway before it on %s, an MCP server on %s.\n", llmListener.Addr(), base, toolsURL)

	if err := converse(ctx, out, base, token); err != nil {
		return err
	}
	recorded, err := waitForRecords(ctx, g.plane.store, 4*len(demoFormats()))
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	if err := writeTable(out, g.plane.Interceptions(ctx, aibridgedserver.InterceptionFilter{})); err != nil {
		return err
	}
	fmt.Fprintln(out)
	writeInjected(out, recorded)
	scripted := llm.Served()
	if err := errors.Join(compare(recorded, scripted, toolsURL), compareCalls(scripted, tools.Calls())); err != nil {
		return fmt.Errorf("what was recorded is not what was scripted:\n%w", err)
	}
	fmt.Fprintf(out, "\nAll %d conversations were relayed, and what was recorded equals what was scripted.\n", len(recorded))
	return nil
}

// demoConfig returns a configuration whose key belongs to no account: the scripted upstream accepts any.
func demoConfig(upstream string) config {
	return config{Providers: []providerConfig{
		{Name: "anthropic", Type: "anthropic", BaseURL: "http://" + upstream, Keys: []keyConfig{{literal: "demo-key-of-no-account"}}},
		{Name: "openai", Type: "openai", BaseURL: "http://" + upstream + "/v1", Keys: []keyConfig{{literal: "demo-key-of-no-account"}}},
	}}
}

// converse sends the conversations, one after another.
func converse(ctx context.Context, out io.Writer, base, token string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, format := range demoFormats() {
		for _, one := range []struct {
			script, about string
			stream        bool
		}{
			{demoScript, "a tool of the client", false}, {demoScript, "a tool of the client", true},
			{demoToolScript, "a tool of the MCP server", false}, {demoToolScript, "a tool of the MCP server", true},
		} {
			prompt, err := json.Marshal(one.script)
			if err != nil {
				return err
			}
			body := fmt.Sprintf(format.body, one.stream, format.tools, prompt)
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+format.path, strings.NewReader(body))
			if err != nil {
				return err
			}
			request.Header.Set("Authorization", "Bearer "+token)
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("User-Agent", "aibridged-demo")
			response, err := client.Do(request)
			if err != nil {
				return err
			}
			answer, err := io.ReadAll(response.Body)
			if err = errors.Join(err, response.Body.Close()); err != nil {
				return fmt.Errorf("%s: %w", format.name, err)
			}
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: status %d: %s", format.name, response.StatusCode, bytes.TrimSpace(answer))
			}
			if bytes.Contains(answer, []byte("bmcp_")) || one.script == demoToolScript && !bytes.Contains(answer, []byte("cache.go")) {
				return fmt.Errorf("%s: the client did not get the answer alone: %s", format.name, answer)
			}
			fmt.Fprintf(out, "  %-10s stream %-6t %5d bytes, with %s\n", format.name, one.stream, len(answer), one.about)
		}
	}
	return nil
}

// waitForRecords returns the interceptions once n of them have ended. It must wait, since a client has its answer a
// moment before the database has the end.
func waitForRecords(ctx context.Context, store *store, n int) ([]*aibridgedserver.Interception, error) {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		var ended []*aibridgedserver.Interception
		for interception, err := range store.Interceptions(ctx, aibridgedserver.InterceptionFilter{}) {
			if err != nil {
				return nil, err
			}
			if interception.EndedAt != nil {
				ended = append(ended, interception)
			}
		}
		if len(ended) == n {
			return ended, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d interceptions were recorded in %s", len(ended), n, demoPatience)
		}
	}
}

// writeInjected writes, for each conversation with a tool of the MCP server, the calls that the gateway ran, and what each
// request to the upstream cost.
func writeInjected(out io.Writer, recorded []*aibridgedserver.Interception) {
	fmt.Fprintln(out, "The tool of the MCP server, of which the clients saw nothing:")
	for _, i := range recorded {
		for _, call := range i.ToolUsages {
			if call.Injected {
				fmt.Fprintf(out, "  %-14s %s\n", i.Model, callFact(call.Tool, call.Input, orEmpty(call.ServerURL), orEmpty(call.InvocationError)))
				for round, usage := range i.TokenUsages {
					fmt.Fprintf(out, "  %-14s round %d: %s\n", "", round+1,
						usageFact(usage.InputTokens, usage.OutputTokens, usage.CacheReadInputTokens, usage.CacheWriteInputTokens))
				}
			}
		}
	}
}

// compare returns every difference between what was recorded and what was served, matched by the answers' ids. The calls of
// the gateway's tools were made at a server.
func compare(recorded []*aibridgedserver.Interception, served []fakellm.Served, server string) error {
	var differences []error
	answers := make([][]fakellm.Served, len(recorded)) // Of each interception, in their order.
	for _, answer := range served {
		i := slices.IndexFunc(recorded, func(i *aibridgedserver.Interception) bool {
			return slices.ContainsFunc(i.TokenUsages, func(u aibridgedserver.TokenUsage) bool { return u.MsgID == answer.AnswerID })
		})
		if i < 0 {
			differences = append(differences, fmt.Errorf("answer %s was not recorded", answer.AnswerID))
			continue
		}
		answers[i] = append(answers[i], answer)
	}
	for i, interception := range recorded {
		if got, want := recordedFacts(interception), servedFacts(answers[i], server); got != want {
			differences = append(differences, fmt.Errorf("interception %s:\n  recorded %s\n  scripted %s", interception.ID, got, want))
		}
	}
	return errors.Join(differences...)
}

// compareCalls returns an error unless the MCP server got the calls that were scripted.
func compareCalls(served []fakellm.Served, got []fakemcp.Call) error {
	var want []fakemcp.Call
	for _, answer := range served {
		for _, call := range answer.ToolCalls {
			if name, ok := strings.CutPrefix(call.Name, "bmcp_docs_"); ok {
				want = append(want, fakemcp.Call{Tool: name, Arguments: call.Input})
			}
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the MCP server got the calls %v, scripted were %v", got, want)
	}
	return nil
}

// recordedFacts returns as text what must equal servedFacts.
func recordedFacts(i *aibridgedserver.Interception) string {
	var facts []string
	for _, prompt := range i.Prompts {
		facts = append(facts, "prompt "+prompt.Prompt)
	}
	for _, usage := range i.TokenUsages {
		facts = append(facts, usageFact(usage.InputTokens, usage.OutputTokens, usage.CacheReadInputTokens, usage.CacheWriteInputTokens))
	}
	for _, call := range i.ToolUsages {
		facts = append(facts, call.ToolCallID+": "+callFact(call.Tool, call.Input, orEmpty(call.ServerURL), orEmpty(call.InvocationError)))
	}
	for _, thought := range i.ModelThoughts {
		facts = append(facts, "thought "+thought.Content)
	}
	if i.ErrorType != nil {
		facts = append(facts, "error "+*i.ErrorType)
	}
	return strings.Join(append(facts, "model "+i.Model, "user "+i.Initiator), "; ")
}

// servedFacts returns the facts of an interception with these answers.
func servedFacts(answers []fakellm.Served, server string) string {
	if len(answers) == 0 {
		return "nothing"
	}
	facts := []string{"prompt " + answers[0].Prompt}
	var calls, thoughts []string
	for _, s := range answers {
		facts = append(facts, usageFact(s.Usage.Input, s.Usage.Output, s.Usage.CacheRead, s.Usage.CacheWrite))
		for _, call := range s.ToolCalls {
			at := ""
			if strings.HasPrefix(call.Name, "bmcp_") {
				at = server
			}
			calls = append(calls, call.ID+": "+callFact(call.Name, call.Input, at, ""))
		}
		for _, thought := range s.Thoughts {
			thoughts = append(thoughts, "thought "+thought)
		}
	}
	return strings.Join(slices.Concat(facts, calls, thoughts, []string{"model " + answers[0].Model, "user " + demoUser}), "; ")
}

func usageFact(input, output, cacheRead, cacheWrite int64) string {
	return fmt.Sprintf("tokens %d in, %d out, %d read, %d written", input, output, cacheRead, cacheWrite)
}

// callFact describes a call. Server is empty for one of the client's.
func callFact(tool, input, server, failure string) string {
	fact := "call " + tool + " " + input
	if server != "" {
		fact += " at " + server
	}
	if failure != "" {
		fact += ", which failed: " + failure
	}
	return fact
}
