package aibridgedserver

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// The queries for the records that belong to the interceptions of a page, one for each kind. loadChildren adds the ids
// of the interceptions. The records of one interception are sorted by time, and those of the same time by id: a gateway
// makes ids in the order in which it observes what it records.
const (
	selectPrompts     = `SELECT interception_id, record_id, msg_id, prompt, metadata, created_at FROM prompt_usages`
	selectTokenUsages = `SELECT interception_id, record_id, msg_id, input_tokens, output_tokens, cache_read_input_tokens,
		cache_write_input_tokens, metadata, created_at FROM token_usages`
	selectToolUsages = `SELECT interception_id, record_id, msg_id, tool_call_id, item_id, server_url, tool, input,
		injected, invocation_error, metadata, created_at FROM tool_usages`
	selectThoughts = `SELECT interception_id, record_id, content, metadata, created_at FROM model_thoughts`
)

// The same for outlines, which have no thoughts.
const (
	outlinePrompts     = `SELECT interception_id, record_id, msg_id, substr(prompt, 1, 400), '{}', created_at FROM prompt_usages`
	outlineTokenUsages = `SELECT interception_id, record_id, msg_id, input_tokens, output_tokens, cache_read_input_tokens,
		cache_write_input_tokens, '{}', created_at FROM token_usages`
	outlineToolUsages = `SELECT interception_id, record_id, msg_id, tool_call_id, item_id, server_url, tool, '',
		injected, invocation_error, '{}', created_at FROM tool_usages`
)

func (c *Prompt) columns() []any {
	return []any{(*idText)(&c.RecordID), &c.MsgID, &c.Prompt, (*[]byte)(&c.Metadata), (*instant)(&c.CreatedAt)}
}

func (c *TokenUsage) columns() []any {
	return []any{
		(*idText)(&c.RecordID), &c.MsgID, &c.InputTokens, &c.OutputTokens, &c.CacheReadInputTokens, &c.CacheWriteInputTokens,
		(*[]byte)(&c.Metadata), (*instant)(&c.CreatedAt),
	}
}

func (c *ToolUsage) columns() []any {
	return []any{
		(*idText)(&c.RecordID), &c.MsgID, &c.ToolCallID, &c.ItemID, &c.ServerURL, &c.Tool, &c.Input, &c.Injected,
		&c.InvocationError, (*[]byte)(&c.Metadata), (*instant)(&c.CreatedAt),
	}
}

func (c *ModelThought) columns() []any {
	return []any{(*idText)(&c.RecordID), &c.Content, (*[]byte)(&c.Metadata), (*instant)(&c.CreatedAt)}
}

// loadChildren adds to interceptions the records that belong to them. Parents holds them by the ids under which their
// records are: their own, and those of background responses. An outline has the beginnings of prompts, and nothing of what
// a table does not show.
func loadChildren(ctx context.Context, tx *sql.Tx, parents map[uuid.UUID][]*Interception, outline bool) error {
	prompts, tokenUsages, toolUsages := selectPrompts, selectTokenUsages, selectToolUsages
	if outline {
		prompts, tokenUsages, toolUsages = outlinePrompts, outlineTokenUsages, outlineToolUsages
	}
	var ids []any
	these := ` WHERE interception_id IN (` + placeholders(&ids, slices.Collect(maps.Keys(parents))) + `) ORDER BY created_at, record_id`
	err := load(ctx, tx, prompts+these, ids, func(id uuid.UUID, c Prompt) {
		for _, i := range parents[id] {
			i.Prompts = append(i.Prompts, c)
		}
	})
	if err != nil {
		return err
	}
	err = load(ctx, tx, tokenUsages+these, ids, func(id uuid.UUID, c TokenUsage) {
		for _, i := range parents[id] {
			i.TokenUsages = append(i.TokenUsages, c)
		}
	})
	if err != nil {
		return err
	}
	err = load(ctx, tx, toolUsages+these, ids, func(id uuid.UUID, c ToolUsage) {
		for _, i := range parents[id] {
			i.ToolUsages = append(i.ToolUsages, c)
		}
	})
	if err != nil || outline {
		return err
	}
	return load(ctx, tx, selectThoughts+these, ids, func(id uuid.UUID, c ModelThought) {
		for _, i := range parents[id] {
			i.ModelThoughts = append(i.ModelThoughts, c)
		}
	})
}

// placeholders adds ids to args and returns the placeholders that stand for them.
func placeholders(args *[]any, ids []uuid.UUID) string {
	in := make([]string, len(ids))
	for i, id := range ids {
		in[i] = placeholder(args, id[:])
	}
	return strings.Join(in, ", ")
}

// load calls add with each child that query yields and the id of the interception that it belongs to.
func load[C any, P interface {
	*C
	columns() []any
}](ctx context.Context, tx *sql.Tx, query string, ids []any, add func(id uuid.UUID, child C)) error {
	return each(ctx, tx, query, ids, func(rows *sql.Rows) error {
		var id uuid.UUID
		var child C
		if err := rows.Scan(append([]any{&id}, P(&child).columns()...)...); err != nil {
			return err
		}
		add(id, child)
		return nil
	})
}

// idText reads a UUID as text.
type idText string

// Scan implements [sql.Scanner].
func (t *idText) Scan(value any) error {
	var id uuid.UUID
	err := id.Scan(value)
	*t = idText(id.String())
	return err
}
