package controlplane_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/controlplane"
)

// entries are what was logged.
type entries struct {
	mu  sync.Mutex
	all []slog.SinkEntry
}

func (e *entries) LogEntry(_ context.Context, entry slog.SinkEntry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, entry)
}

func (*entries) Sync() {}

// warnings returns the messages that are of level warning or above.
func (e *entries) warnings() (all []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, entry := range e.all {
		if entry.Level >= slog.LevelWarn {
			all = append(all, entry.Message)
		}
	}
	return all
}

// A connection that is closed without a word, as a probe of the port is, warns nobody. One that says something wrong does, and so does
// one that says nothing until the gate has had enough.
func TestProbesWarnNobody(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		client func(net.Conn)
		want   int
	}{
		"probe":        {func(conn net.Conn) { _ = conn.Close() }, 0},
		"half a word":  {func(conn net.Conn) { _, _ = conn.Write([]byte{22}); _ = conn.Close() }, 1},
		"no word ever": {func(conn net.Conn) { time.Sleep(time.Hour); _ = conn.Close() }, 1},
		"refused words": {func(conn net.Conn) {
			_, _ = conn.Write([]byte("GET / HTTP/1.1\r\n"))
			time.Sleep(time.Minute)
			_ = conn.Close()
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log entries
				listener := newPipes()
				stop := serve(t, listener, fake(echo), controlplane.ServeOptions{
					Logger: slog.Make(&log).Leveled(slog.LevelDebug),
					Admit: func(_ context.Context, conn net.Conn) (net.Conn, error) { // As the gate does, without TLS.
						timer := time.AfterFunc(10*time.Second, func() { _ = conn.Close() })
						defer timer.Stop()
						_, err := conn.Read(make([]byte, 16))
						return nil, errors.Join(errors.New("refused"), err, conn.Close())
					},
				})
				conn, err := listener.dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				test.client(conn)
				synctest.Wait()
				stop()
				if got := log.warnings(); len(got) != test.want {
					t.Errorf("warnings: %s", strings.Join(got, ", "))
				}
				if len(log.all) != 1 {
					t.Errorf("%d lines", len(log.all))
				}
			})
		})
	}
}
