package aibridgedserver

import (
	"context"
	"database/sql"
	"strings"
)

// What belongs to the interceptions of a page, each kind by one query, to which their ids are added. What belongs to
// one of them is in the order of its times, and where these are equal, in the order in which it came.
const (
	selectPrompts = `SELECT r.interception_id, r.record_id, r.msg_id, t.prompt, r.metadata, r.created_at
		FROM prompt_usages r JOIN prompt_texts t ON t.seq = r.seq`
	selectTokenUsages = `SELECT r.interception_id, r.record_id, r.msg_id, r.input_tokens, r.output_tokens,
		r.cache_read_input_tokens, r.cache_write_input_tokens, r.metadata, r.created_at FROM token_usages r`
	selectToolUsages = `SELECT r.interception_id, r.record_id, r.msg_id, r.tool_call_id, r.item_id, r.server_url,
		r.tool, t.input, r.injected, r.invocation_error, r.metadata, r.created_at
		FROM tool_usages r JOIN tool_inputs t ON t.seq = r.seq`
	selectThoughts = `SELECT r.interception_id, r.record_id, t.content, r.metadata, r.created_at
		FROM model_thoughts r JOIN thought_texts t ON t.seq = r.seq`
)

func (c *Prompt) columns() []any {
	return []any{&c.RecordID, &c.MsgID, &c.Prompt, (*[]byte)(&c.Metadata), (*instant)(&c.CreatedAt)}
}

func (c *TokenUsage) columns() []any {
	return []any{
		&c.RecordID, &c.MsgID, &c.InputTokens, &c.OutputTokens, &c.CacheReadInputTokens, &c.CacheWriteInputTokens,
		(*[]byte)(&c.Metadata), (*instant)(&c.CreatedAt),
	}
}

func (c *ToolUsage) columns() []any {
	return []any{
		&c.RecordID, &c.MsgID, &c.ToolCallID, &c.ItemID, &c.ServerURL, &c.Tool, &c.Input, &c.Injected,
		&c.InvocationError, (*[]byte)(&c.Metadata), (*instant)(&c.CreatedAt),
	}
}

func (c *ModelThought) columns() []any {
	return []any{&c.RecordID, &c.Content, (*[]byte)(&c.Metadata), (*instant)(&c.CreatedAt)}
}

// loadChildren adds to the interceptions of a page what belongs to them.
func loadChildren(ctx context.Context, tx *sql.Tx, page []*Interception) error {
	parents := make(map[string]*Interception, len(page))
	var ids []any
	var in []string
	for _, i := range page {
		parents[i.ID] = i
		in = append(in, placeholder(&ids, i.ID))
	}
	these := ` WHERE r.interception_id IN (` + strings.Join(in, ", ") + `) ORDER BY r.created_at, r.seq`
	err := load(ctx, tx, selectPrompts+these, ids, func(id string, c Prompt) {
		parents[id].Prompts = append(parents[id].Prompts, c)
	})
	if err != nil {
		return err
	}
	err = load(ctx, tx, selectTokenUsages+these, ids, func(id string, c TokenUsage) {
		parents[id].TokenUsages = append(parents[id].TokenUsages, c)
	})
	if err != nil {
		return err
	}
	err = load(ctx, tx, selectToolUsages+these, ids, func(id string, c ToolUsage) {
		parents[id].ToolUsages = append(parents[id].ToolUsages, c)
	})
	if err != nil {
		return err
	}
	return load(ctx, tx, selectThoughts+these, ids, func(id string, c ModelThought) {
		parents[id].ModelThoughts = append(parents[id].ModelThoughts, c)
	})
}

// load calls add with each child that query yields and the id of the interception that it belongs to.
func load[C any, P interface {
	*C
	columns() []any
}](ctx context.Context, tx *sql.Tx, query string, ids []any, add func(id string, child C)) error {
	return each(ctx, tx, query, ids, func(rows *sql.Rows) error {
		var id string
		var child C
		if err := rows.Scan(append([]any{&id}, P(&child).columns()...)...); err != nil {
			return err
		}
		add(id, child)
		return nil
	})
}
