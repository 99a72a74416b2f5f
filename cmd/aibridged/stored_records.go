package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/rederive"
	"github.com/coder/aibridged/internal/verify"
)

// storedRecords reads a control plane's database for verify.
type storedRecords struct{ server *aibridgedserver.Server }

// Ended implements [verify.Records].
func (s storedRecords) Ended(ctx context.Context, since time.Time) iter.Seq2[verify.Recorded, error] {
	return func(yield func(verify.Recorded, error) bool) {
		for interception, err := range s.server.Interceptions(ctx, aibridgedserver.InterceptionFilter{EndedSince: since}) {
			if err == nil && interception.EndedAt == nil {
				continue
			}
			var recorded verify.Recorded
			if err == nil {
				recorded, err = recordedOf(interception)
			}
			if !yield(recorded, err) || err != nil {
				return
			}
		}
	}
}

// Lookup implements [verify.Records].
func (s storedRecords) Lookup(ctx context.Context, id uuid.UUID) (started, ended bool, err error) {
	for interception, err := range s.server.Outlines(ctx, aibridgedserver.InterceptionFilter{ID: id.String()}) {
		if err != nil {
			return false, false, err
		}
		return true, interception.EndedAt != nil, nil
	}
	return false, false, nil
}

// recordedOf returns what is recorded of an interception that has ended.
func recordedOf(i *aibridgedserver.Interception) (verify.Recorded, error) {
	id, err := uuid.Parse(i.ID)
	if err != nil {
		return verify.Recorded{}, fmt.Errorf("interception %s: %w", i.ID, err)
	}
	recorded := verify.Recorded{
		ID: id, EndedAt: *i.EndedAt, ProviderName: i.ProviderName, Prompts: len(i.Prompts), CredentialHint: i.CredentialHint,
		Request:  verify.Body{Bytes: i.RequestBytes, SHA256: i.RequestSHA256},
		Response: verify.Body{Bytes: i.ResponseBytes, SHA256: i.ResponseSHA256},
	}
	recorded.Facts, recorded.Unreadable = factsOf(i)
	return recorded, nil
}

// factsOf returns what is recorded in the form that the second decoder uses, and an error if metadata is no JSON
// object.
func factsOf(i *aibridgedserver.Interception) (rederive.Facts, error) {
	var unreadable error
	metadata := func(text json.RawMessage) map[string]any {
		values := map[string]any{}
		if err := json.Unmarshal(text, &values); err != nil {
			unreadable = fmt.Errorf("recorded metadata is no JSON object: %w", err)
		}
		return values
	}
	facts := rederive.Facts{
		Model: i.Model, Client: i.Client, ClientSessionID: orEmpty(i.ClientSessionID), UserAgent: i.UserAgent,
		CorrelatingToolCallID: orEmpty(i.CorrelatingToolCallID), ErrorType: orEmpty(i.ErrorType), ErrorMessage: orEmpty(i.ErrorMessage),
	}
	for _, p := range i.Prompts {
		facts.Prompt = &rederive.Prompt{Text: p.Prompt, Metadata: metadata(p.Metadata)}
	}
	for _, u := range i.TokenUsages {
		metadata := metadata(u.Metadata)
		if isReadLater(metadata) {
			continue
		}
		facts.TokenUsages = append(facts.TokenUsages, rederive.TokenUsage{
			MessageID: u.MsgID, Input: u.InputTokens, Output: u.OutputTokens, CacheRead: u.CacheReadInputTokens,
			CacheWrite: u.CacheWriteInputTokens, Metadata: metadata,
		})
	}
	for _, u := range i.ToolUsages {
		metadata := metadata(u.Metadata)
		if isReadLater(metadata) {
			continue
		}
		facts.ToolUsages = append(facts.ToolUsages, rederive.ToolUsage{
			MessageID: u.MsgID, CallID: u.ToolCallID, ItemID: u.ItemID, Tool: u.Tool, Input: u.Input, Injected: u.Injected,
			Metadata: metadata,
		})
	}
	for _, thought := range i.ModelThoughts {
		metadata := metadata(thought.Metadata)
		if isReadLater(metadata) {
			continue
		}
		facts.Thoughts = append(facts.Thoughts, rederive.Thought{Content: thought.Content, Metadata: metadata})
	}
	return facts, unreadable
}

// isReadLater reports whether a record is of what another request has read: the kept bytes do not have it.
func isReadLater(metadata map[string]any) bool { return metadata["read_later"] == true }

func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
