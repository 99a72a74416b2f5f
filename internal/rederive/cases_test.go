package rederive_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/rederive"
	"github.com/coder/aibridged/internal/testkit"
)

// TestCases derives the facts of the project's cases and compares them with the recorded ones, which people have
// checked.
func TestCases(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "cases", "*", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	derived := 0
	for _, file := range files {
		c := testkit.LoadCase(t, file)
		format := formatOf(c.Request.Path())
		if c.Upstream == nil || c.Records == "" || format == "" {
			continue
		}
		derived++
		t.Run(file, func(t *testing.T) { checkCase(t, c) })
	}
	if derived < 20 {
		t.Errorf("only %d cases", derived)
	}
}

// checkCase derives the facts of each request of a case. Where there are several, the answers themselves say which is the last
// one of a request.
func checkCase(t *testing.T, c *testkit.Case) {
	requests, answers := []testkit.Message{c.Request}, []*testkit.Message{c.Upstream}
	for _, next := range c.Next {
		requests = append(requests, next.Request)
	}
	for _, later := range c.Later {
		answers = append(answers, later.Upstream)
	}
	records := recordsOf(c.Records)
	for n, request := range requests {
		format := formatOf(request.Path())
		if len(answers) == 0 || format == "" || request.Method() != http.MethodPost {
			answers = answers[min(1, len(answers)):]
			continue
		}
		header := request.Header.Clone()
		if header.Get("User-Agent") == "" {
			header.Set("User-Agent", "case/1.0") // The user agent of the client that sends the cases.
		}
		var rounds []rederive.Exchange
		var facts rederive.Facts
		for goesOn := true; goesOn && len(answers) > 0; goesOn = facts.Runs && !facts.Mixed || n == len(requests)-1 {
			answer := answers[0]
			answers = answers[1:]
			rounds = append(rounds, rederive.Exchange{
				Format: format, RequestHeader: header, Request: request.Body,
				Status: answer.Status(), ResponseHeader: answer.Header, Response: answer.Body,
				Whole: c.Settings["ending"] == "clean" || len(answers) > 0,
			})
			var err error
			if facts, err = rederive.DeriveRounds(rounds...); err != nil {
				t.Fatal(err)
			}
		}
		if facts.Runs && !facts.Mixed {
			t.Error("the answer should have gone on in another round")
		}
		if len(records) == 0 {
			t.Fatalf("nothing is recorded of request %d", n+1)
		}
		for _, difference := range facts.Diff(readRecords(t, records[0])) {
			t.Errorf("request %d: %s", n+1, difference)
		}
		records = records[1:]
	}
}

// recordsOf splits records by the interceptions that they are of.
func recordsOf(lines string) (interceptions []string) {
	for line := range strings.Lines(lines) {
		if strings.Contains(line, `"record":"interception"`) {
			interceptions = append(interceptions, "")
		}
		if len(interceptions) > 0 {
			interceptions[len(interceptions)-1] += line
		}
	}
	return interceptions
}

func formatOf(path string) string {
	path, _, _ = strings.Cut(path, "?")
	switch {
	case strings.HasSuffix(path, "/messages"):
		return rederive.FormatMessages
	case strings.HasSuffix(path, "/completions"):
		return rederive.FormatChat
	case strings.HasSuffix(path, "/responses"):
		return rederive.FormatResponses
	case strings.HasSuffix(path, "/compact"):
		return rederive.FormatCompact
	case strings.HasSuffix(path, "/embeddings"):
		return rederive.FormatEmbeddings
	}
	return ""
}

// readRecords reads records in the form of the cases.
func readRecords(t *testing.T, lines string) rederive.Facts {
	var facts rederive.Facts
	for line := range strings.Lines(lines) {
		decoder := json.NewDecoder(bytes.NewReader([]byte(line)))
		decoder.UseNumber()
		var fields map[string]any
		if err := decoder.Decode(&fields); err != nil {
			t.Fatal(err)
		}
		text := func(name string) string {
			text, _ := fields[name].(string)
			return text
		}
		count := func(name string) int64 {
			n, _ := strconv.ParseInt(text(name), 10, 64)
			return n
		}
		metadata, _ := fields["metadata"].(map[string]any)
		for name, value := range metadata {
			if number, ok := value.(json.Number); ok {
				metadata[name], _ = number.Int64()
			}
		}
		switch text("record") {
		case "interception":
			facts.Model, facts.Client, facts.UserAgent = text("model"), text("client"), text("user_agent")
			facts.ClientSessionID, facts.CorrelatingToolCallID = text("client_session_id"), text("correlating_tool_call_id")
		case "prompt_usage":
			facts.Prompt = &rederive.Prompt{Text: text("prompt"), Metadata: metadata}
		case "token_usage":
			facts.TokenUsages = append(facts.TokenUsages, rederive.TokenUsage{
				MessageID: text("msg_id"), Input: count("input_tokens"), Output: count("output_tokens"),
				CacheRead: count("cache_read_input_tokens"), CacheWrite: count("cache_write_input_tokens"), Metadata: metadata,
			})
		case "tool_usage":
			facts.ToolUsages = append(facts.ToolUsages, rederive.ToolUsage{
				MessageID: text("msg_id"), CallID: text("tool_call_id"), ItemID: text("item_id"), Tool: text("tool"),
				Input: text("input"), Injected: fields["injected"] == true, Metadata: metadata,
			})
		case "model_thought":
			facts.Thoughts = append(facts.Thoughts, rederive.Thought{Content: text("content"), Metadata: metadata})
		case "interception_ended":
			facts.Model = cmp.Or(facts.Model, text("model"))
			facts.ErrorType, facts.ErrorMessage = text("error_type"), text("error_message")
		}
	}
	return facts
}
