// Package postgres is a [dbpubsub.Pubsub] between all programs that have the same PostgreSQL database:
//
//	ps, err := postgres.New(ctx, "postgres://aibridged@db.internal/aibridged", postgres.Options{Logger: logger})
//	if err != nil {
//		return err
//	}
//	defer ps.Close()
//
// Messages come by NOTIFY, over one connection that listens. A notification is lost if that connection breaks, or if a
// pooler stands in front of the server. So each message also has a number, which is looked at every five seconds over
// another connection. When messages were lost, a [dbpubsub.ListenerWithErr] gets [dbpubsub.ErrDroppedMessages], and a
// [dbpubsub.Listener], which must look again just as well, an empty message.
//
// Publishing takes a lock that all transactions of the database share at their end. So it is for what changes seldom.
package postgres

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cdr.dev/slog/v3"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/coder/aibridged/dbpubsub"
	"github.com/coder/aibridged/internal/pgdial"
)

const (
	// channel carries all events.
	channel = "aibridged_pubsub"
	// mostBytes is how many bytes an event and its message may have: a notification has less than 8000, in which they are
	// base64.
	mostBytes = 5800
	// pollEvery is the time between two looks at the numbers of messages.
	pollEvery = 5 * time.Second
	// onItsWay is how long a notification may take after its number is seen.
	onItsWay = 500 * time.Millisecond
	// queryPatience bounds a query.
	queryPatience = 3 * time.Second
)

// Options are the optional settings of [New]; the zero value works.
type Options struct {
	// Direct is the address at which the server itself is reached, for the connection that listens, where the other address
	// is that of a pooler. Empty: the same address.
	Direct string
	// Logger is told when the connection that listens is lost, and when a pooler makes listening impossible.
	Logger slog.Logger
}

// pubsub hands on what it hears to a Pubsub of this process, and the subscribers are that one's.
type pubsub struct {
	db     *sql.DB // For all but listening.
	local  dbpubsub.Pubsub
	logger slog.Logger

	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
	seen   map[string]*progress // By event, of those that have subscribers. Guarded by mu.
}

// progress is how far the messages of an event have come.
type progress struct {
	subscribers int
	number      int64 // Of the latest message that was heard, or counted as lost.
}

// New connects to the database at an address, as package aibridgedserver/postgres reads it, and makes a table in it,
// aibridged_pubsub. Ctx bounds New alone. The caller closes the Pubsub.
func New(ctx context.Context, address string, options Options) (dbpubsub.Pubsub, error) {
	config, err := pgdial.Parse(address)
	if err != nil {
		return nil, err
	}
	direct := config
	if options.Direct != "" {
		if direct, err = pgdial.Parse(options.Direct); err != nil {
			return nil, fmt.Errorf("direct address: %w", err)
		}
	}
	db := stdlib.OpenDB(*config, pgdial.Rechecked(config))
	db.SetMaxOpenConns(2)
	if err := makeTable(ctx, db); err != nil {
		return nil, errors.Join(fmt.Errorf("make the table for messages: %w", err), db.Close())
	}
	p := &pubsub{db: db, local: dbpubsub.NewInMemory(), logger: options.Logger, seen: map[string]*progress{}}
	first, err := p.listen(ctx, direct)
	if err != nil && !errors.Is(err, errPooled) {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), db.Close(), p.local.Close())
	}
	if errors.Is(err, errPooled) {
		p.logger.Warn(ctx, "a pooler stands in front of the database, which hands on no notifications: changes are noticed within six seconds; name the server's own address for listening")
	}
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if first != nil {
		p.running.Go(func() { p.listenForever(ctx, direct, first) })
	}
	p.running.Go(func() { p.pollForever(ctx) })
	return p, nil
}

// makeTable makes the table of the numbers of messages, unless it is there.
func makeTable(ctx context.Context, db *sql.DB) error {
	for try := 1; ; try++ {
		_, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS aibridged_pubsub (event bytea NOT NULL PRIMARY KEY, number bigint NOT NULL)`)
		failure, ok := errors.AsType[*pgconn.PgError](err)
		// Another program has just made it: its name, the table itself, or the type of its rows.
		made := ok && slices.Contains([]string{"23505", "42P07", "42710"}, failure.Code)
		if !made || try == 10 {
			return err
		}
	}
}

// Subscribe implements [dbpubsub.Pubsub].
func (p *pubsub) Subscribe(event string, listener dbpubsub.Listener) (cancel func(), err error) {
	return p.subscribe(event, func(ctx context.Context, message []byte, err error) {
		switch {
		case err == nil:
			listener(ctx, message)
		case errors.Is(err, errLost):
			listener(ctx, nil)
		}
	})
}

// SubscribeWithErr implements [dbpubsub.Pubsub].
func (p *pubsub) SubscribeWithErr(event string, listener dbpubsub.ListenerWithErr) (cancel func(), err error) {
	return p.subscribe(event, func(ctx context.Context, message []byte, err error) {
		if err != nil {
			message, err = nil, dbpubsub.ErrDroppedMessages
		}
		listener(ctx, message, err)
	})
}

// errLost says that messages were lost on their way to this process, and not only to a listener that was too slow.
var errLost = errors.New("lost on the way")

// subscribe subscribes listener to what is published from now on: to the messages with a number above the present one.
func (p *pubsub) subscribe(event string, listener dbpubsub.ListenerWithErr) (cancel func(), err error) {
	p.count(event, 1)
	var after int64
	known := make(chan struct{}) // Closed when after is known.
	end, err := p.local.SubscribeWithErr(event, func(ctx context.Context, carried []byte, err error) {
		select {
		case <-known:
		case <-ctx.Done():
			return
		}
		if err != nil {
			listener(ctx, nil, err)
			return
		}
		number, message := uncarry(carried)
		switch {
		case message == nil:
			after = 0 // The numbers may be those of an earlier time, from a backup or a standby.
			listener(ctx, nil, errLost)
		case number > after:
			listener(ctx, message, nil)
		}
	})
	if err != nil {
		p.count(event, -1)
		return nil, err
	}
	cancel = sync.OnceFunc(func() {
		end()
		p.count(event, -1)
	})
	numbers, err := p.numbers(context.Background(), event)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	after = numbers[event]
	p.start(event, after)
	close(known)
	return cancel, nil
}

// count counts the subscribers of an event.
func (p *pubsub) count(event string, more int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen[event] == nil {
		p.seen[event] = &progress{}
	}
	if p.seen[event].subscribers += more; p.seen[event].subscribers == 0 {
		delete(p.seen, event)
	}
}

// start notes that messages of an event up to a number are of no interest.
func (p *pubsub) start(event string, number int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.seen[event]; at != nil {
		at.number = max(at.number, number)
	}
}

// reach notes that a message of an event was heard.
func (p *pubsub) reach(event string, number int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.seen[event]; at != nil {
		at.number = number
	}
}

// Publish implements [dbpubsub.Pubsub].
func (p *pubsub) Publish(event string, message []byte) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return errors.New("pubsub is closed")
	case len(event)+len(message) > mostBytes:
		return fmt.Errorf("publish: event and message have %d bytes, %d are possible", len(event)+len(message), mostBytes)
	}
	ctx, cancel := context.WithTimeout(context.Background(), queryPatience)
	defer cancel()
	encoded := base64.StdEncoding.EncodeToString([]byte(event)) + " " + base64.StdEncoding.EncodeToString(message)
	_, err := p.db.ExecContext(ctx, `WITH next AS (INSERT INTO aibridged_pubsub (event, number) VALUES ($1, 1)
			ON CONFLICT (event) DO UPDATE SET number = aibridged_pubsub.number + 1 RETURNING number)
		SELECT pg_notify($2, number || ' ' || $3) FROM next`, []byte(event), channel, encoded)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// numbers returns the numbers of the latest messages of events.
func (p *pubsub) numbers(ctx context.Context, events ...string) (_ map[string]int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryPatience)
	defer cancel()
	wanted := make([][]byte, len(events))
	for i, event := range events {
		wanted[i] = []byte(event)
	}
	rows, err := p.db.QueryContext(ctx, `SELECT event, number FROM aibridged_pubsub WHERE event = ANY($1)`, wanted)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	numbers := map[string]int64{}
	for rows.Next() {
		var event []byte
		var number int64
		if err := rows.Scan(&event, &number); err != nil {
			return nil, err
		}
		numbers[string(event)] = number
	}
	return numbers, rows.Err()
}

// Close implements [dbpubsub.Pubsub].
func (p *pubsub) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.running.Wait()
	return errors.Join(p.local.Close(), p.db.Close())
}

// events returns the events that have subscribers.
func (p *pubsub) events() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.seen))
}

// hear hands on a notification.
func (p *pubsub) hear(notification *pgconn.Notification) {
	fields := strings.Split(notification.Payload, " ")
	if len(fields) != 3 {
		return // It is from somebody else.
	}
	number, err := strconv.ParseInt(fields[0], 10, 64)
	event, badEvent := base64.StdEncoding.DecodeString(fields[1])
	message, badMessage := base64.StdEncoding.DecodeString(fields[2])
	if errors.Join(err, badEvent, badMessage) != nil {
		return
	}
	p.reach(string(event), number)
	_ = p.local.Publish(string(event), carry(number, message)) // It fails after Close, when nobody listens.
}

// lose tells the subscribers of an event that messages were lost.
func (p *pubsub) lose(event string) { _ = p.local.Publish(event, nil) }

// carry returns what stands for a message in this process, and uncarry what it stands for: nil for lost ones.
func carry(number int64, message []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(number)), message...)
}

func uncarry(carried []byte) (number int64, message []byte) {
	if len(carried) < 8 {
		return 0, nil
	}
	return int64(binary.BigEndian.Uint64(carried)), carried[8:]
}

// pollForever looks at the numbers of messages until ctx ends.
func (p *pubsub) pollForever(ctx context.Context) {
	for pause(ctx, pollEvery) {
		numbers, err := p.numbers(ctx, p.events()...)
		if err != nil {
			continue // The next look may succeed.
		}
		behind := p.behind(numbers)
		if len(behind) == 0 || !pause(ctx, onItsWay) {
			continue
		}
		for event, heard := range behind {
			if p.skip(event, heard, numbers[event]) {
				p.lose(event)
			}
		}
	}
}

// behind returns the events whose latest message was not heard, with the number of the one that was.
func (p *pubsub) behind(numbers map[string]int64) map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	behind := map[string]int64{}
	for event, number := range numbers {
		if at := p.seen[event]; at != nil && at.number != number {
			behind[event] = at.number
		}
	}
	return behind
}

// skip counts the messages of an event up to a number as lost, if nothing was heard since a number, and returns whether
// it did.
func (p *pubsub) skip(event string, heard, to int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.seen[event]
	if at == nil || at.number != heard {
		return false
	}
	at.number = to
	return true
}

// pause waits, and returns false if ctx ends first.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
