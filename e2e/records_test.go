package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"
)

// interception is a line of `interceptions --json`, with the names that are promised to scripts.
type interception struct {
	ID                    string         `json:"id"`
	Initiator             string         `json:"initiator"`
	InitiatorID           string         `json:"initiator_id"`
	APIKeyID              string         `json:"api_key_id"`
	Provider              string         `json:"provider"`
	ProviderName          string         `json:"provider_name"`
	Model                 string         `json:"model"`
	Client                string         `json:"client"`
	ClientSessionID       *string        `json:"client_session_id"`
	UserAgent             string         `json:"user_agent"`
	CorrelatingToolCallID *string        `json:"correlating_tool_call_id"`
	CredentialKind        string         `json:"credential_kind"`
	CredentialHint        string         `json:"credential_hint"`
	Metadata              map[string]any `json:"metadata"`
	StartedAt             time.Time      `json:"started_at"`
	EndedAt               *time.Time     `json:"ended_at"`
	ErrorType             *string        `json:"error_type"`
	ErrorMessage          *string        `json:"error_message"`
	RequestBytes          *int64         `json:"request_bytes"`
	RequestSHA256         *string        `json:"request_sha256"`
	ResponseBytes         *int64         `json:"response_bytes"`
	ResponseSHA256        *string        `json:"response_sha256"`
	FirstByteMicros       *int64         `json:"first_byte_us"`
	Unread                *int64         `json:"unread"`
	Prompts               []prompt       `json:"prompts"`
	TokenUsages           []tokenUsage   `json:"token_usages"`
	ToolUsages            []toolUsage    `json:"tool_usages"`
	ModelThoughts         []modelThought `json:"model_thoughts"`
}

type prompt struct {
	RecordID  string         `json:"record_id"`
	MsgID     string         `json:"msg_id"`
	Prompt    string         `json:"prompt"`
	Metadata  map[string]any `json:"metadata"`
	CreatedAt time.Time      `json:"created_at"`
}

type tokenUsage struct {
	RecordID              string         `json:"record_id"`
	MsgID                 string         `json:"msg_id"`
	InputTokens           int64          `json:"input_tokens"`
	OutputTokens          int64          `json:"output_tokens"`
	CacheReadInputTokens  int64          `json:"cache_read_input_tokens"`
	CacheWriteInputTokens int64          `json:"cache_write_input_tokens"`
	Metadata              map[string]any `json:"metadata"`
	CreatedAt             time.Time      `json:"created_at"`
}

type toolUsage struct {
	RecordID        string         `json:"record_id"`
	MsgID           string         `json:"msg_id"`
	ToolCallID      string         `json:"tool_call_id"`
	ItemID          string         `json:"item_id"`
	ServerURL       *string        `json:"server_url"`
	Tool            string         `json:"tool"`
	Input           string         `json:"input"`
	Injected        bool           `json:"injected"`
	InvocationError *string        `json:"invocation_error"`
	Metadata        map[string]any `json:"metadata"`
	CreatedAt       time.Time      `json:"created_at"`
}

type modelThought struct {
	RecordID  string         `json:"record_id"`
	Content   string         `json:"content"`
	Metadata  map[string]any `json:"metadata"`
	CreatedAt time.Time      `json:"created_at"`
}

// decode reads the lines of `interceptions --json`. A name that is not promised is an error.
func decode(lines []byte) ([]interception, error) {
	decoder := json.NewDecoder(bytes.NewReader(lines))
	decoder.DisallowUnknownFields()
	var all []interception
	for {
		var one interception
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("interceptions --json: %w", err)
		}
		all = append(all, one)
	}
}

// failure returns the recorded type of error, or nothing.
func (i interception) failure() string {
	if i.ErrorType == nil {
		return ""
	}
	return *i.ErrorType
}

// begun waits until a user has n interceptions, and returns them, the oldest first. They need not have ended.
func (u *user) begun(t *testing.T, n int) []interception {
	t.Helper()
	return u.waitFor(t, n, func(interception) bool { return true })
}

// recorded waits until a user has n interceptions that have all ended. A client has its answer a moment before that.
func (u *user) recorded(t *testing.T, n int) []interception {
	t.Helper()
	return u.waitFor(t, n, func(i interception) bool { return i.EndedAt != nil })
}

func (u *user) waitFor(t *testing.T, n int, counts func(interception) bool) []interception {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []interception
	err := poll(ctx, func() (bool, error) {
		printed, err := u.of.run("interceptions", "--json", "--user", u.name)
		if err != nil {
			return false, err
		}
		if all, err = decode(printed); err != nil {
			return false, err
		}
		all = slices.DeleteFunc(all, isProbe)
		counted := 0
		for _, one := range all {
			if counts(one) {
				counted++
			}
		}
		if len(all) > n {
			return false, errors.New("there are too many")
		}
		return counted == n, nil
	})
	if err != nil {
		t.Fatalf("waiting for %d interceptions of %s: %v; these are there:\n%s", n, u.name, err, indented(all))
	}
	return all
}

// isProbe reports whether Claude Code only asked whether a cloud has a model, which it does before its first turn.
func isProbe(i interception) bool { return len(i.Prompts) == 1 && i.Prompts[0].Prompt == "." }

// indented returns a value as indented JSON, to compare and to read.
func indented(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}
