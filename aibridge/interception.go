package aibridge

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/internal/wire"
)

// retryNoRoom is when a client may come back that there was no room to record.
const retryNoRoom = 5 * time.Second

// interception is what is recorded of one request and its answers: the start and the prompt, what each round said, and
// the end; once, in this order. It knows no HTTP: what carries the bytes tells it of them. It belongs to one goroutine.
type interception struct {
	bridge   *RequestBridge
	provider *Provider
	format   *wire.Format
	span     trace.Span

	id         uuid.UUID
	started    time.Time // With its monotonic reading, from which every later time is made.
	asks       wire.Request
	credential upstreamCredential

	begun     Commit // Of the start; nil once that was waited for.
	rounds    []*round
	received  bodySum // Of the answers of all rounds.
	concluded *conclusion

	sentAfter    time.Duration // From the start to the first sending: the gateway's own part.
	upstreamWait time.Duration // From the last sending to the beginning of its answer.
	firstByte    time.Duration // From the start to the first byte of an answer; zero: none came.
}

// beginning is what the start of an interception says of its request.
type beginning struct {
	caller    Caller
	client    *client
	session   string // The client's own id of the session.
	userAgent string
	body      bodySum
}

// begin records the start, and what the person typed. It returns when that is written; [interception.awaitStart] says
// when it is safe. Where it fails nothing began: no record, no request.
func (i *interception) begin(ctx context.Context, of beginning) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	i.id = id
	if i.span.IsRecording() {
		i.span.SetAttributes(
			attribute.String("interception.id", id.String()),
			attribute.String("gen_ai.asks.model", i.asks.Model),
		)
	}
	records := make([]Record, 0, 2)
	records = append(records, i.start(of))
	if prompt := i.prompt(of.client); prompt != nil {
		records = append(records, prompt)
	}
	// A client that leaves now must not keep us from hearing that the start is stored: what has started must end.
	i.begun, err = i.bridge.recorder.Record(context.WithoutCancel(ctx), records...)
	if err != nil {
		return unrecorded(err)
	}
	i.bridge.options.Metrics.recorded(i, records)
	return nil
}

// unrecorded is the refusal of a request that cannot be recorded.
func unrecorded(err error) *apierror.Error {
	if errors.Is(err, ErrNoRoom) {
		return &apierror.Error{
			Status: http.StatusServiceUnavailable, Text: "there is no room for records at the moment", RetryAfter: retryNoRoom, Cause: err,
		}
	}
	return &apierror.Error{Status: http.StatusInternalServerError, Text: "the request could not be recorded", Cause: err}
}

// awaitStart waits until the start is safe, which it may have become while the upstream was at work.
func (i *interception) awaitStart(ctx context.Context) error {
	begun := i.begun
	i.begun = nil
	if err := wait(ctx, begun); err != nil {
		return unrecorded(err)
	}
	return nil
}

// answered begins the notes on a round's answer.
func (i *interception) answered(of answerHead) *round {
	round := newRound(of, i.format.Track())
	i.rounds = append(i.rounds, round)
	return round
}

// arrived notes the bytes of an answer that came next. What comes after the end is no part of it.
func (i *interception) arrived(p []byte) {
	if i.concluded != nil || len(p) == 0 {
		return
	}
	if i.firstByte == 0 {
		i.firstByte = time.Since(i.started)
	}
	i.received.add(p)
}

// conclusion is what became of an interception.
type conclusion struct {
	outcome outcome
	took    time.Duration
	records int   // How many there were beside the start and the prompt.
	err     error // Why they may be lost.
}

// conclude records all that follows the start, once, and returns when it is safe: of what the client gets after that,
// nothing is ahead of its records. It fails where they may be lost.
func (i *interception) conclude(ctx context.Context, ending ending) error {
	if i.concluded != nil {
		return i.concluded.err
	}
	for _, round := range i.rounds {
		round.abandon()
	}
	c := &conclusion{outcome: i.outcome(ending), took: time.Since(i.started)}
	c.outcome.message = storable.Cut(storable.Text(i.credential.redact(c.outcome.message)), longestErrorMessage)
	i.concluded = c
	records := i.rest(c)
	c.records = len(records)
	// The request may be over, but not its accounting.
	detached := context.WithoutCancel(ctx)
	var commit Commit
	commit, c.err = i.bridge.recorder.Record(detached, records...)
	if ctx.Err() == nil { // Where the request is over, nobody gets anything that could be ahead of its records.
		c.err = cmp.Or(c.err, wait(detached, commit), wait(detached, i.begun))
		i.begun = nil
	}
	if c.err != nil {
		i.bridge.options.Logger.Error(detached, "records of an interception were lost",
			slog.F("interception_id", i.id), slog.F("records", c.records), slog.Error(c.err))
	}
	i.bridge.options.Metrics.recorded(i, records)
	return c.err
}

// wait waits for a commit, where there is one to wait for.
func wait(ctx context.Context, commit Commit) error {
	if commit == nil {
		return nil
	}
	return commit.Wait(ctx)
}

// end closes what has concluded: its spans, its metrics, its one line in the log.
func (i *interception) end(ctx context.Context, failure *apierror.Error) {
	for _, round := range i.rounds {
		round.close()
	}
	if kind := i.concluded.outcome.errorType; kind != "" && i.span.IsRecording() {
		i.span.SetStatus(codes.Error, string(kind))
		i.span.SetAttributes(attribute.String("error.type", string(kind)))
	}
	i.bridge.options.Metrics.ended(i)
	i.log(ctx, failure)
}

// log writes the interception's one line.
func (i *interception) log(ctx context.Context, failure *apierror.Error) {
	fields := make([]slog.Field, 0, 14)
	fields = append(fields,
		slog.F("interception_id", i.id),
		slog.F("provider", i.provider.name),
		slog.F("format", i.format.Name),
		slog.F("model", storable.Cut(storable.Text(i.asks.Model), 128)),
		slog.F("stream", i.asks.Stream),
		slog.F("duration", i.concluded.took),
		slog.F("first_byte", i.firstByte),
		slog.F("upstream_wait", i.upstreamWait),
		slog.F("rounds", len(i.rounds)),
		slog.F("records", i.concluded.records),
	)
	if len(i.rounds) > 0 {
		last := i.rounds[len(i.rounds)-1]
		fields = append(fields, slog.F("status", last.status))
		if n := last.unreadEvents(); n > 0 {
			fields = append(fields, slog.F("unread", n))
		}
	}
	if kind := i.concluded.outcome.errorType; kind != "" {
		fields = append(fields, slog.F("error_type", kind))
	}
	if failure != nil && failure.Cause != nil {
		fields = append(fields, slog.F("cause", i.credential.redact(failure.Cause.Error())))
	}
	// Log asks for no place in the source, which is this one always, and costs more to find than all the rest.
	i.bridge.options.Logger.Log(ctx, slog.SinkEntry{
		Time: time.Now().UTC(), Level: slog.LevelInfo, Message: "interception ended", Fields: fields,
		SpanContext: trace.SpanContextFromContext(ctx),
	})
}
