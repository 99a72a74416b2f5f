package aibridge

import (
	"context"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/internal/wire"
)

// longestErrorMessage is what a record keeps of one, in bytes.
const longestErrorMessage = 1024

// conclusion is what became of an exchange.
type conclusion struct {
	outcome outcome
	took    time.Duration
	records int   // How many the rest was.
	err     error // Why they may be lost.
}

// conclude records all that follows the start, once, and returns when it is safe: what the client gets after that, it
// gets whole only where the records are. It fails where they may be lost.
func (x *exchange) conclude() error {
	if x.concluded != nil {
		return x.concluded.err
	}
	c := &conclusion{outcome: x.outcome(), took: time.Since(x.started)}
	c.outcome.message = storable.Cut(storable.Text(x.credential.redact(c.outcome.message)), longestErrorMessage)
	x.concluded = c
	records := x.rest(c)
	c.records = len(records)
	// The request may be over, but not its accounting.
	ctx := context.WithoutCancel(x.ctx)
	var commit Commit
	if commit, c.err = x.bridge.recorder.Record(ctx, records...); c.err == nil && commit != nil && x.ctx.Err() == nil {
		c.err = commit.Wait(ctx) // Where the request is over, nobody gets anything that could be ahead of its records.
	}
	if c.err != nil {
		x.bridge.options.Logger.Error(ctx, "records of an interception were lost",
			slog.F("interception_id", x.id), slog.F("records", c.records), slog.Error(c.err))
	}
	x.bridge.options.Metrics.recorded(x, records)
	return c.err
}

// rest is all records but the start and the prompt: what each answer left, and the end.
func (x *exchange) rest(c *conclusion) []Record {
	var records []Record
	for _, answer := range x.answers {
		records = append(records, x.answerRecords(answer)...)
	}
	return append(records, &InterceptionEnd{
		RecordID:       newRecordID(),
		InterceptionID: x.id,
		EndedAt:        x.started.Add(c.took),
		CredentialHint: storable.Text(x.credential.hint()),
		ErrorType:      c.outcome.errorType,
		ErrorMessage:   c.outcome.message,
		ResponseBytes:  x.received.bytes,
		ResponseSHA256: x.received.sum(),
	})
}

// answerRecords is what one upstream answer leaves: its usage, then the calls and the thoughts in their order.
func (x *exchange) answerRecords(answer *answer) []Record {
	seen := answer.said()
	now := x.started.Add(time.Since(x.started))
	id := storable.Text(seen.ID)
	records := make([]Record, 0, 2+len(seen.ToolCalls)+len(seen.Thoughts))
	if seen.Usage != nil {
		records = append(records, &TokenUsage{
			RecordID:              newRecordID(),
			InterceptionID:        x.id,
			MessageID:             id,
			InputTokens:           seen.Usage.Input,
			OutputTokens:          seen.Usage.Output,
			CacheReadInputTokens:  seen.Usage.CacheRead,
			CacheWriteInputTokens: seen.Usage.CacheWrite,
			Metadata:              usageMetadata(seen, answer),
			CreatedAt:             now,
		})
	}
	for _, call := range seen.ToolCalls {
		input, changed := toolInput(call.Input)
		records = append(records, &ToolUsage{
			RecordID:       newRecordID(),
			InterceptionID: x.id,
			MessageID:      id,
			ToolCallID:     storable.Text(call.ID),
			ItemID:         storable.Text(call.ItemID),
			Tool:           storable.Text(call.Name),
			Input:          input,
			Metadata:       flagged(nil, changed),
			CreatedAt:      now,
		})
	}
	for _, thought := range seen.Thoughts {
		content := storable.Text(thought.Content)
		metadata := flagged(Metadata{"source": thought.Source}, content != thought.Content)
		if thought.Redacted {
			metadata["redacted"] = true
		}
		records = append(records, &ModelThought{
			RecordID: newRecordID(), InterceptionID: x.id, Content: content, Metadata: metadata, CreatedAt: now,
		})
	}
	return records
}

// usageMetadata holds what of a usage has no field of its own.
func usageMetadata(seen wire.Answer, answer *answer) Metadata {
	metadata := make(Metadata, len(seen.Usage.Extra)+3)
	for kind, count := range seen.Usage.Extra {
		metadata[kind] = count
	}
	if seen.Usage.ServiceTier != "" {
		metadata["service_tier"] = storable.Text(seen.Usage.ServiceTier)
	}
	if seen.Model != "" {
		metadata["model"] = storable.Text(seen.Model)
	}
	if seen.Usage.Inconsistent {
		metadata["inconsistent"] = true
	}
	if n := answer.unreadEvents(); n > 0 {
		metadata["unread"] = int64(n)
	}
	broken := !answer.ended || answer.err != nil
	if broken && !seen.Terminal || seen.Usage.Preliminary {
		metadata["partial"] = true
	}
	return metadata
}

// flagged notes that a text was changed to be storable.
func flagged(metadata Metadata, changed bool) Metadata {
	if !changed {
		return metadata
	}
	if metadata == nil {
		metadata = Metadata{}
	}
	metadata["sanitized"] = true
	return metadata
}

// newRecordID returns an id of ours, never the provider's.
func newRecordID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.New() // Both read the same source, which on Linux does not fail.
	}
	return id
}
