package crashtest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/internal/recording"
	"github.com/coder/aibridged/proto"
)

// The names within a machine's root.
const (
	queueName    = "records"
	databaseName = "control.db"
)

// host is the part of `serve` that handles records: a queue, the control plane behind it, and its database, on one
// machine.
type host struct {
	machine *machine
	db      aibridgedserver.Database
	store   *aibridgedserver.Server
	queue   *recording.Queue
}

// startHost starts a host on a machine.
func startHost(ctx context.Context, m *machine) (h *host, err error) {
	h = &host{machine: m}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.stop())
		}
	}()
	if err := m.watchDatabase(); err != nil {
		return h, err
	}
	path := filepath.Join(m.root, databaseName)
	if h.db, err = sqlite.Open(ctx, path); err != nil {
		return h, err
	}
	if h.store, err = aibridgedserver.New(ctx, h.db, aibridgedserver.Options{}); err != nil {
		return h, err
	}
	h.queue, err = recording.Open(recording.Options{
		Directory: filepath.Join(m.root, queueName), Durability: m.durability, Files: m.queueFiles(),
	})
	if err != nil {
		return h, err
	}
	dial := controlplane.InProcess(h.store)
	h.queue.Deliver(func(ctx context.Context) (proto.DRPCRecorderClient, error) { return dial(ctx) })
	return h, nil
}

// stop delivers the records that wait, and ends the host.
func (h *host) stop() error {
	var err error
	if h.queue != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, h.queue.Close(ctx, ctx))
		if pending := h.queue.Stats().Pending; pending > 0 {
			err = errors.Join(err, fmt.Errorf("%d records are not delivered", pending))
		}
	}
	if h.store != nil {
		err = errors.Join(err, h.store.Close())
	}
	if h.db.Writer != nil {
		err = errors.Join(err, h.db.Close())
	}
	h.machine.forgetDatabase()
	return err
}

// look delivers the records that wait, and returns what is recorded then.
func (h *host) look(ctx context.Context) (f found, err error) {
	for h.queue.Stats().Pending > 0 {
		if !pause(ctx, time.Millisecond) {
			return f, ctx.Err()
		}
	}
	for interception, err := range h.store.Interceptions(ctx, aibridgedserver.InterceptionFilter{}) {
		if err != nil {
			return f, err
		}
		f.interceptions = append(f.interceptions, interception)
	}
	if f.tokens, err = h.store.Tokens(ctx); err != nil {
		return f, err
	}
	return f, h.db.Reader.QueryRowContext(ctx, `PRAGMA integrity_check`).Scan(&f.integrity)
}

// promptOf and its like return texts that are unique and long, so that they take several pages of the database.
func promptOf(id string) string { return strings.Repeat("prompt of "+id+" ", 40) }
func inputOf(id string) string  { return `{"input":"` + strings.Repeat(id, 60) + `"}` }

// serve records an interception as a gateway does, and notes the promises that a gateway makes: for a streaming answer that
// it is recorded, before the answer begins, and for every answer that it is recorded whole.
func (h *host) serve(ctx context.Context, p *promises, streaming bool) error {
	id, start, err := h.start(ctx)
	if err != nil {
		return err
	}
	if streaming {
		if err := start.Wait(ctx); err != nil {
			return err
		}
		h.promise(p, begun, id)
	}
	now := time.Now()
	rest, err := h.queue.Record(ctx,
		&aibridge.TokenUsage{RecordID: uuid.New(), InterceptionID: id, MessageID: "msg", InputTokens: 1, OutputTokens: 2, CreatedAt: now},
		&aibridge.ToolUsage{RecordID: uuid.New(), InterceptionID: id, MessageID: "msg", Tool: "ls", Input: inputOf(id.String()), CreatedAt: now},
		&aibridge.InterceptionEnd{RecordID: uuid.New(), InterceptionID: id, EndedAt: now},
	)
	if err != nil {
		return err
	}
	if err := errors.Join(rest.Wait(ctx), start.Wait(ctx)); err != nil {
		return err
	}
	h.promise(p, ended, id)
	return nil
}

// promise notes what is promised of an interception. Kernel promises nothing for a machine whose power fails, but no start
// may be found without its end.
func (h *host) promise(p *promises, k kind, id uuid.UUID) {
	if h.machine.durability == outbox.Sync {
		p.make(k, id.String())
	}
}

// start records the start of an interception. Nothing is promised until its commit is waited for.
func (h *host) start(ctx context.Context) (id uuid.UUID, commit aibridge.Commit, err error) {
	if id, err = uuid.NewV7(); err != nil {
		return id, nil, err
	}
	now := time.Now()
	commit, err = h.queue.Record(ctx,
		&aibridge.InterceptionStart{ID: id, InitiatorID: uuid.NewString(), Model: "m", Provider: "openai", ProviderName: "main", StartedAt: now},
		&aibridge.PromptUsage{RecordID: uuid.New(), InterceptionID: id, Prompt: promptOf(id.String()), CreatedAt: now},
	)
	return id, commit, err
}

// token makes two tokens, each as the command does that runs in a process of its own, and revokes the second.
func (h *host) token(ctx context.Context, p *promises) (err error) {
	db, err := sqlite.Open(ctx, filepath.Join(h.machine.root, databaseName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	store, err := aibridgedserver.New(ctx, db, aibridgedserver.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var key aibridgedserver.APIKey
	for range 2 {
		if _, key, err = store.CreateToken(ctx, aibridgedserver.TokenParams{Username: user}); err != nil {
			return err
		}
		p.make(issued, key.ID)
	}
	if err := store.RevokeToken(ctx, key.ID); err != nil {
		return err
	}
	p.make(revoked, key.ID)
	return nil
}

// work serves rounds of interceptions, several at a time, and makes tokens between them. Checkpoints of the database
// are as frequent as on a host that has served a thousand times as many, and every third round forces one.
func (h *host) work(ctx context.Context, p *promises, rounds int) error {
	if _, err := h.db.Writer.ExecContext(ctx, `PRAGMA wal_autocheckpoint = 40`); err != nil {
		return err
	}
	for round := range rounds {
		const together = 2
		var (
			serving sync.WaitGroup
			errs    [together]error
		)
		for n := range together {
			serving.Go(func() { errs[n] = h.serve(ctx, p, n == 0) })
		}
		serving.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		// Every other round begins before the records of the previous one are in the database.
		for round%2 == 0 && h.queue.Stats().Pending > 0 && pause(ctx, time.Millisecond) {
		}
		var err error
		switch round % 3 {
		case 1:
			err = h.token(ctx, p)
		case 2:
			_, err = h.db.Writer.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
