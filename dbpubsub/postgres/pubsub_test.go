package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged/dbpubsub"
	"github.com/coder/aibridged/dbpubsub/postgres"
	"github.com/coder/aibridged/dbpubsub/pubsubtest"
	"github.com/coder/aibridged/internal/postgrestest"
)

// shared is the server of all tests that need none of their own.
var shared postgrestest.Shared

func TestMain(m *testing.M) { shared.Main(m) }

func open(t *testing.T, address string, options postgres.Options) dbpubsub.Pubsub {
	t.Helper()
	ps, err := postgres.New(t.Context(), address, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ps.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return ps
}

func TestPubsub(t *testing.T) {
	t.Parallel()
	pubsubtest.Run(t, func(t *testing.T) dbpubsub.Pubsub {
		return open(t, newAddress(t), postgres.Options{})
	})
}

// newAddress returns the address of an empty database.
func newAddress(t *testing.T) string {
	t.Helper()
	name := shared.Server(t).Database(t, "")
	return shared.Server(t).Address(name)
}

// heard is one call of a listener.
type heard struct {
	message string
	lost    bool
	at      time.Time
}

// listenTo returns what a Pubsub says of an event.
func listenTo(t *testing.T, ps dbpubsub.Pubsub, event string) <-chan heard {
	t.Helper()
	all := make(chan heard, 1000)
	_, err := ps.SubscribeWithErr(event, func(_ context.Context, message []byte, err error) {
		all <- heard{string(message), err != nil, time.Now()}
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func next(t *testing.T, all <-chan heard) heard {
	t.Helper()
	select {
	case one := <-all:
		return one
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
		return heard{}
	}
}

func publish(t *testing.T, ps dbpubsub.Pubsub, event, message string) {
	t.Helper()
	if err := ps.Publish(event, []byte(message)); err != nil {
		t.Fatal(err)
	}
}

// Programs that start at the same time on one database hear each other, within a second.
func TestSeveralPrograms(t *testing.T) {
	t.Parallel()
	address := newAddress(t)
	all := make([]dbpubsub.Pubsub, 4)
	var opening sync.WaitGroup
	for i := range all {
		opening.Go(func() {
			ps, err := postgres.New(t.Context(), address, postgres.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = ps
		})
	}
	opening.Wait()
	for _, ps := range all {
		defer ps.Close()
	}
	var listeners []<-chan heard
	for _, ps := range all {
		listeners = append(listeners, listenTo(t, ps, "event"))
	}
	for i, ps := range all {
		began := time.Now()
		publish(t, ps, "event", fmt.Sprint(i))
		for _, listener := range listeners {
			if one := next(t, listener); one.message != fmt.Sprint(i) || one.at.Sub(began) > time.Second {
				t.Errorf("heard %v after %v, want %d", one, one.at.Sub(began), i)
			}
		}
	}
}

// A connection that the server ends is made anew, and every subscriber hears that it may have lost messages.
func TestListeningIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	name := shared.Server(t).Database(t, "")
	ps := open(t, shared.Server(t).Address(name), postgres.Options{})
	first, second := listenTo(t, ps, "first"), listenTo(t, ps, "second")
	plain := make(chan string, 100)
	if _, err := ps.Subscribe("first", func(_ context.Context, message []byte) { plain <- string(message) }); err != nil {
		t.Fatal(err)
	}
	publish(t, ps, "first", "1")
	if one := next(t, first); one.message != "1" {
		t.Errorf("heard %v", one)
	}
	if message := <-plain; message != "1" {
		t.Errorf("heard %q", message)
	}
	endListening(t, name)
	for _, listener := range []<-chan heard{first, second} {
		if one := next(t, listener); !one.lost {
			t.Errorf("heard %v", one)
		}
	}
	if message := <-plain; message != "" {
		t.Errorf("heard %q", message)
	}
	publish(t, ps, "second", "2")
	if one := next(t, second); one.message != "2" || one.lost {
		t.Errorf("heard %v", one)
	}
}

// After a failover or from a backup, the numbers of messages can be those of an earlier time. Messages are heard all the
// same.
func TestNumbersGoBack(t *testing.T) {
	t.Parallel()
	name := shared.Server(t).Database(t, "")
	ps := open(t, shared.Server(t).Address(name), postgres.Options{})
	for range 10 {
		publish(t, ps, "event", "before")
	}
	listener := listenTo(t, ps, "event")
	endListening(t, name)
	if err := shared.Server(t).Exec(t.Context(), name, `UPDATE aibridged_pubsub SET number = 1`); err != nil {
		t.Fatal(err)
	}
	for one := next(t, listener); !one.lost; one = next(t, listener) {
		t.Errorf("heard %v", one)
	}
	publish(t, ps, "event", "after")
	for one := next(t, listener); one.message != "after"; one = next(t, listener) {
		if !one.lost {
			t.Errorf("heard %v", one)
		}
	}
}

// endListening lets the server end the connections that listen.
func endListening(t *testing.T, name string) {
	t.Helper()
	err := shared.Server(t).Exec(t.Context(), "postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = '`+name+`' AND (query LIKE 'LISTEN%' OR query LIKE 'show transaction%')`)
	if err != nil {
		t.Fatal(err)
	}
}

// A connection whose packets go nowhere stays open. The loss is noticed within ten seconds, and listening goes on over
// another connection.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	name := shared.Server(t).Database(t, "")
	hole := startProxy(t, shared.Server(t).Host())
	ps := open(t, shared.Server(t).Address(name), postgres.Options{Direct: strings.Replace(shared.Server(t).Address(name), shared.Server(t).Host(), hole.host(), 1)})
	elsewhere := open(t, shared.Server(t).Address(name), postgres.Options{})
	listener := listenTo(t, ps, "event")
	publish(t, elsewhere, "event", "1")
	if one := next(t, listener); one.message != "1" {
		t.Errorf("heard %v", one)
	}
	hole.swallow.Store(true)
	began := time.Now()
	publish(t, elsewhere, "event", "2")
	if one := next(t, listener); !one.lost || one.at.Sub(began) > 10*time.Second {
		t.Errorf("heard %v after %v", one, one.at.Sub(began))
	}
	hole.swallow.Store(false) // For new connections: what was swallowed is lost.
	for {
		publish(t, elsewhere, "event", "3")
		if one := next(t, listener); one.message == "3" {
			break
		}
	}
}

// A primary that becomes a standby keeps its connections, and nobody notifies there any more. Listening moves to the new primary.
func TestNewPrimary(t *testing.T) {
	t.Parallel()
	primary := postgrestest.New(t, postgrestest.Options{})
	standby := primary.NewStandby(t)
	ps := open(t, fmt.Sprintf("postgres://postgres@%s,%s/postgres?sslmode=disable", primary.Host(), standby.Host()), postgres.Options{})
	listener := listenTo(t, ps, "event")
	publish(t, ps, "event", "1")
	if one := next(t, listener); one.message != "1" {
		t.Errorf("heard %v", one)
	}
	if err := primary.Exec(t.Context(), "postgres", "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	elsewhere := open(t, standby.Address("postgres"), postgres.Options{})
	began := time.Now()
	publish(t, elsewhere, "event", "2")
	if one := next(t, listener); !one.lost || one.at.Sub(began) > 10*time.Second {
		t.Errorf("heard %v after %v", one, one.at.Sub(began))
	}
	publish(t, elsewhere, "event", "3")
	for one := next(t, listener); one.message != "3"; one = next(t, listener) {
		if !one.lost {
			t.Errorf("heard %v", one)
		}
	}
}

// Through a pooler no notification comes, and the numbers alone tell of messages.
func TestPooler(t *testing.T) {
	t.Parallel()
	name := shared.Server(t).Database(t, "")
	pooler, err := postgrestest.StartPooler(shared.Server(t))
	if errors.Is(err, postgrestest.ErrNoPooler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pooler.Stop(); err != nil {
			t.Error(err)
		}
	})
	pooled := open(t, pooler.Address(name), postgres.Options{})
	direct := open(t, pooler.Address(name), postgres.Options{Direct: shared.Server(t).Address(name)})
	slow, fast := listenTo(t, pooled, "event"), listenTo(t, direct, "event")
	began := time.Now()
	publish(t, pooled, "event", "1")
	if one := next(t, fast); one.message != "1" || one.at.Sub(began) > time.Second {
		t.Errorf("heard %v after %v", one, one.at.Sub(began))
	}
	if one := next(t, slow); !one.lost || one.at.Sub(began) > 10*time.Second {
		t.Errorf("heard %v after %v", one, one.at.Sub(began))
	}
	if len(slow) > 0 {
		t.Errorf("heard %v", <-slow)
	}
}

func TestMessageThatIsTooLong(t *testing.T) {
	t.Parallel()
	ps := open(t, newAddress(t), postgres.Options{})
	listener := listenTo(t, ps, "event")
	if err := ps.Publish("event", make([]byte, 5800)); err == nil {
		t.Error("published")
	}
	publish(t, ps, "event", strings.Repeat("x", 5795))
	if one := next(t, listener); len(one.message) != 5795 {
		t.Errorf("heard %d bytes", len(one.message))
	}
}

// proxy passes connections on to a server, or swallows what comes and keeps them open.
type proxy struct {
	listener net.Listener
	swallow  atomic.Bool
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener}
	p.running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, client, server)
			p.mu.Unlock()
			p.running.Go(func() { p.pass(server, client) })
			p.running.Go(func() { p.pass(client, server) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		for _, conn := range p.conns {
			_ = conn.Close()
		}
		p.mu.Unlock()
		p.running.Wait()
	})
	return p
}

func (p *proxy) host() string { return p.listener.Addr().String() }

// pass passes bytes on. A connection that has swallowed some swallows all that follow.
func (p *proxy) pass(to, from net.Conn) {
	buffer := make([]byte, 4096)
	for swallowing := false; ; {
		n, err := from.Read(buffer)
		if swallowing = swallowing || p.swallow.Load(); !swallowing && n > 0 {
			_, _ = to.Write(buffer[:n])
		}
		if err != nil {
			if !swallowing && errors.Is(err, io.EOF) {
				_ = to.Close()
			}
			return
		}
	}
}
