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
)

func newDemoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Try everything without a key or a network: six conversations, and a check of their records",
		Long: `demo starts a scripted upstream and a gateway on free ports, with a data directory that is removed
afterwards. It sends one conversation in each format, streamed and not, through the gateway, prints what
was recorded, and succeeds only if that equals what was scripted.`,
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

// demoScript is the prompt of every conversation, with directives for the upstream.
const demoScript = `What is in this directory? [[think: A listing will tell.]] [[text: Let me look.]] ` +
	`[[tool: list_files {"path":"."}]] [[usage: input=120 output=34 cache_read=1000 cache_write=200]]`

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

	llm := fakellm.New(fakellm.Options{})
	llmListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	running.Go(func() { _ = serveUntil(ctx, llmListener, llm) }) // If it fails, every conversation fails.

	settings := settings{dataDir: directory}
	g, err := newGateway(ctx, settings, demoConfig(llmListener.Addr().String()), gatewayOptions{})
	if err != nil {
		return err
	}
	gatewayListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, g.close(ctx))
	}
	token, _, err := g.control.CreateToken(ctx, aibridgedserver.TokenParams{Username: demoUser})
	if err != nil {
		return errors.Join(err, g.close(ctx))
	}
	base := "http://" + gatewayListener.Addr().String()
	running.Go(func() { _ = g.serve(ctx, gatewayListener, nil) })
	fmt.Fprintf(out, "A scripted upstream on http://%s, a gateway before it on %s.\n", llmListener.Addr(), base)

	if err := converse(ctx, out, base, token); err != nil {
		return err
	}
	recorded, err := waitForRecords(ctx, g.control, 2*len(demoFormats()))
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	if err := writeTable(out, g.control.Interceptions(ctx, aibridgedserver.InterceptionFilter{})); err != nil {
		return err
	}
	if err := compare(recorded, llm.Served()); err != nil {
		return fmt.Errorf("what was recorded is not what was scripted:\n%w", err)
	}
	fmt.Fprintf(out, "\nAll %d conversations were relayed, and what was recorded equals what was scripted.\n", len(recorded))
	return nil
}

// demoConfig returns a configuration whose key belongs to no account: the scripted upstream accepts any.
func demoConfig(upstream string) config {
	return config{Providers: []providerConfig{
		{Name: "anthropic", Type: "anthropic", BaseURL: "http://" + upstream, literalKey: "demo-key-of-no-account"},
		{Name: "openai", Type: "openai", BaseURL: "http://" + upstream + "/v1", literalKey: "demo-key-of-no-account"},
	}}
}

// converse sends the conversations, one after another.
func converse(ctx context.Context, out io.Writer, base, token string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, format := range demoFormats() {
		for _, stream := range []bool{false, true} {
			prompt, err := json.Marshal(demoScript)
			if err != nil {
				return err
			}
			body := fmt.Sprintf(format.body, stream, format.tools, prompt)
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
			fmt.Fprintf(out, "  %-10s stream %-6t %5d bytes\n", format.name, stream, len(answer))
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

// compare returns every difference between what was recorded and what was served, matched by the answers' ids.
func compare(recorded []*aibridgedserver.Interception, served []fakellm.Served) error {
	var differences []error
	if len(recorded) != len(served) {
		differences = append(differences, fmt.Errorf("%d interceptions, %d answers", len(recorded), len(served)))
	}
	for _, answer := range served {
		i := slices.IndexFunc(recorded, func(i *aibridgedserver.Interception) bool {
			return len(i.TokenUsages) > 0 && i.TokenUsages[0].MsgID == answer.AnswerID
		})
		if i < 0 {
			differences = append(differences, fmt.Errorf("answer %s was not recorded", answer.AnswerID))
			continue
		}
		got, want := recordedFacts(recorded[i]), servedFacts(answer)
		if got != want {
			differences = append(differences, fmt.Errorf("answer %s:\n  recorded %s\n  scripted %s", answer.AnswerID, got, want))
		}
	}
	return errors.Join(differences...)
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
		facts = append(facts, "call "+call.ToolCallID+" "+call.Tool+" "+call.Input)
	}
	for _, thought := range i.ModelThoughts {
		facts = append(facts, "thought "+thought.Content)
	}
	if i.ErrorType != nil {
		facts = append(facts, "error "+*i.ErrorType)
	}
	return strings.Join(append(facts, "model "+i.Model, "user "+i.Initiator), "; ")
}

func servedFacts(s fakellm.Served) string {
	facts := []string{"prompt " + s.Prompt, usageFact(s.Usage.Input, s.Usage.Output, s.Usage.CacheRead, s.Usage.CacheWrite)}
	for _, call := range s.ToolCalls {
		facts = append(facts, "call "+call.ID+" "+call.Name+" "+call.Input)
	}
	for _, thought := range s.Thoughts {
		facts = append(facts, "thought "+thought)
	}
	return strings.Join(append(facts, "model "+s.Model, "user "+demoUser), "; ")
}

func usageFact(input, output, cacheRead, cacheWrite int64) string {
	return fmt.Sprintf("tokens %d in, %d out, %d read, %d written", input, output, cacheRead, cacheWrite)
}
