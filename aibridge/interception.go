package aibridge

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/internal/upstream"
	"github.com/coder/aibridged/internal/wire"
)

// retryNoRoom is how long a client is told to wait when there is no room for its records.
const retryNoRoom = 5 * time.Second

// interception is what is recorded of one request and its answers: the start and the prompt, what each round said, and
// the end, each once and in this order. It knows no HTTP: the relay tells it which bytes came. It belongs to one
// goroutine.
type interception struct {
	bridge   *RequestBridge
	provider *Provider
	format   *wire.Format
	span     trace.Span

	id         uuid.UUID
	started    time.Time     // With its monotonic reading; every later time is computed from it.
	inspected  wire.Request  // What the format read in the request's body.
	rewritten  upstream.Sent // What the transport has made of the request, if it makes something of it.
	credential upstreamCredential
	secrets    secrets

	toolOf   func(name string) (serverURL string, ours bool) // Of a tool that the model calls. Nil: no tool is the gateway's.
	begun    Commit                                          // Of the start; nil once it has been waited for.
	rounds   []*round
	pending  bool    // Tools were called, and the model goes on: what comes next is a later round's.
	final    bool    // No round follows, whatever tools were called in the last one.
	later    bool    // Another request began the answer: only its records are made here.
	received bodySum // Of the answers of all rounds.
	// notReceived is how many of the next bytes stand in the place of others, which have been counted.
	notReceived int
	concluded   *conclusion
	reserved    func(BudgetEnding) // Nil: nothing is held of a budget, or how the request ended has been said.
	measured    []*TokenUsage      // What the request has used so far. Only while something is held.

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
	agent     map[string]string // What the client says of the sub-agent that asks; nil: none does.
	body      bodySum
}

// redactNames takes the gateway's tokens out of what the client names in its body: names are recorded, logged, and
// labels of metrics. The body itself goes upstream as it came.
func (i *interception) redactNames() {
	for _, name := range [...]*string{&i.inspected.Model, &i.inspected.CacheKey, &i.inspected.UserID, &i.inspected.ToolResultID} {
		*name = i.secrets.tokens.Redact(*name)
	}
}

// begin records the start and what the person typed. It returns when both are written; [interception.awaitStart] waits
// until they are safe. If it fails, nothing is recorded, and the request must not be sent.
func (i *interception) begin(ctx context.Context, of beginning) error {
	i.describeSpan()
	records := make([]Record, 0, 2)
	records = append(records, i.start(of))
	if prompt := i.prompt(of.client); prompt != nil {
		records = append(records, prompt)
	}
	// Even if the client leaves now, we must learn whether the start was stored: a stored start needs an end.
	var err error
	i.begun, err = i.bridge.recorder.Record(context.WithoutCancel(ctx), records...)
	if err != nil {
		return unrecorded(err)
	}
	i.bridge.options.Metrics.recorded(i, records)
	return nil
}

// unrecorded returns the refusal of a request that cannot be recorded.
func unrecorded(err error) *apierror.Error {
	if errors.Is(err, ErrNoRoom) {
		return &apierror.Error{
			Status: http.StatusServiceUnavailable, Text: "there is no room for records at the moment", RetryAfter: retryNoRoom, Cause: err,
		}
	}
	return &apierror.Error{Status: http.StatusInternalServerError, Text: "the request could not be recorded", Cause: err}
}

// awaitStart waits until the start is safe. It may have become safe while the upstream worked on its answer.
func (i *interception) awaitStart(ctx context.Context) error {
	begun := i.begun
	i.begun = nil
	if err := wait(ctx, begun); err != nil {
		return unrecorded(err)
	}
	return nil
}

// answered adds a round, whose answer has begun.
func (i *interception) answered(of answerHead) *round {
	round := newRound(of, i.format.Track, i.provider.memory)
	if i.provider.silent {
		round.pinging = i.format.Ping
	}
	i.rounds = append(i.rounds, round)
	return round
}

// arrived counts the next bytes of an answer. Bytes that come after the interception has concluded are not counted.
func (i *interception) arrived(p []byte) {
	if n := min(i.notReceived, len(p)); n > 0 {
		i.notReceived -= n
		p = p[n:]
	}
	if i.concluded != nil || len(p) == 0 {
		return
	}
	if i.firstByte == 0 {
		i.firstByte = time.Since(i.started)
	}
	i.received.add(p)
}

// recordUsage records what a round cost, and recordParts its calls and thoughts. These records are then not made again. They
// are not waited for: the end of the interception does that.
func (i *interception) recordUsage(ctx context.Context, of *round) error {
	records := i.usageRecord(of)
	of.metered = true
	return i.record(ctx, records)
}

func (i *interception) recordParts(ctx context.Context, of *round) error {
	records := i.partRecords(of)
	of.parted = true
	return i.record(ctx, records)
}

func (i *interception) record(ctx context.Context, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	if _, err := i.bridge.recorder.Record(context.WithoutCancel(ctx), records...); err != nil {
		return err
	}
	i.bridge.options.Metrics.recorded(i, records)
	return nil
}

// conclusion is the result of an interception.
type conclusion struct {
	outcome outcome
	took    time.Duration
	records int   // How many records there are beside the start and the prompt.
	err     error // Why records may be lost.
}

// conclude records everything after the start and the prompt, and returns when all records are safe, so that the client
// gets the last bytes only after that. If the request's context has ended, it does not wait. It fails if records may be
// lost. Further calls return the result of the first.
func (i *interception) conclude(ctx context.Context, ending ending) error {
	if i.concluded != nil {
		return i.concluded.err
	}
	for _, round := range i.rounds {
		round.abandon()
	}
	c := &conclusion{outcome: i.outcome(ending), took: time.Since(i.started)}
	c.outcome.message = storable.Cut(storable.Text(i.secrets.redact(c.outcome.message)), longestErrorMessage)
	i.concluded = c
	records := i.rest(c)
	c.records = len(records)
	i.settleBudget(i.spent(c.outcome))
	// Records are written even if the request is over.
	detached := context.WithoutCancel(ctx)
	var commit Commit
	commit, c.err = i.bridge.recorder.Record(detached, records...)
	if ctx.Err() == nil { // If the request is over, the client gets nothing more, so there is no need to wait.
		c.err = cmp.Or(c.err, wait(detached, commit), wait(detached, i.begun))
		i.begun = nil
	}
	i.bridge.options.Metrics.recorded(i, records)
	if c.err == nil {
		i.rememberBackground()
	}
	return c.err
}

// model returns the model that the request names or, if it names none, the one that answered.
func (i *interception) model() string {
	if i.inspected.Model != "" || i.concluded == nil || len(i.rounds) == 0 {
		return i.inspected.Model
	}
	return i.rounds[len(i.rounds)-1].said().Model
}

// wait waits for a commit, if there is one.
func wait(ctx context.Context, commit Commit) error {
	if commit == nil {
		return nil
	}
	return commit.Wait(ctx)
}

// end ends the spans of an interception that has concluded, counts it in the metrics, and logs its one line.
func (i *interception) end(ctx context.Context, failure *apierror.Error) {
	i.endSpans()
	for _, round := range i.rounds {
		round.close()
	}
	i.bridge.options.Metrics.ended(i)
	if err := i.concluded.err; err != nil {
		i.bridge.options.Logger.Error(ctx, "records of an interception were lost",
			slog.F("interception_id", i.id), slog.F("records", i.concluded.records), slog.Error(err))
	}
	i.log(ctx, failure)
}

// log writes the interception's one line.
func (i *interception) log(ctx context.Context, failure *apierror.Error) {
	fields := make([]slog.Field, 0, 14)
	fields = append(fields,
		slog.F("interception_id", i.id),
		slog.F("provider", i.provider.name),
		slog.F("format", i.format.Name),
		slog.F("model", storable.Cut(storable.Text(i.model()), 128)),
		slog.F("stream", i.inspected.Stream),
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
		fields = append(fields, slog.F("cause", i.secrets.redact(failure.Cause.Error())))
	}
	// Log, unlike Info, does not look up the place in the source. That place is always this one, and to find it costs
	// more than the rest of the line.
	i.bridge.options.Logger.Log(ctx, slog.SinkEntry{
		Time: time.Now().UTC(), Level: slog.LevelInfo, Message: "interception ended", Fields: fields,
		SpanContext: trace.SpanContextFromContext(ctx),
	})
}
