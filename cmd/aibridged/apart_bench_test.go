package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/controlplane/join"
	"github.com/coder/aibridged/internal/postgrestest"
	"github.com/coder/aibridged/proto"
)

// coldTokens is how many tokens are used in turn so that none is in the control plane's cache, which has room for half.
const coldTokens = 8192

// benchmarkEngines runs a benchmark with settings for each engine.
func benchmarkEngines(b *testing.B, run func(b *testing.B, s settings)) {
	b.Run("sqlite", func(b *testing.B) { run(b, settings{dataDir: b.TempDir()}) })
	b.Run("postgres", func(b *testing.B) {
		server := postgrestest.New(b, postgrestest.Options{Durable: true})
		run(b, settings{dataDir: b.TempDir(), postgres: server.Address(server.Database(b, ""))})
	})
}

// joining returns a client of a control plane on this machine, which the caller closes.
func joining(b *testing.B, address string, token join.Token) aibridged.DRPCClient {
	b.Helper()
	client, err := controlplane.Network(func(ctx context.Context) (net.Conn, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		config := join.Trust{}.Config(token)
		config.InsecureSkipVerify = true // Whom to trust is not what is measured.
		return join.Enter(ctx, conn, config, token)
	}, controlplane.NetworkOptions{})(b.Context())
	check(b, err)
	return client
}

// BenchmarkRemoteAuthorization asks a control plane over TLS on the loopback who a token belongs to. With a cold cache, the
// control plane asks its database each time. The last part leases a request its place within limits of all gateways.
func BenchmarkRemoteAuthorization(b *testing.B) {
	benchmarkEngines(b, func(b *testing.B, s settings) {
		p, err := newControl(b.Context(), s, config{Admission: admissionConfig{UserConcurrent: 100}}, controlOptions{adminListen: adminOff, consoleListen: adminOff, logger: slog.Logger{}})
		check(b, err)
		token := join.NewToken(nil)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(b, errors.Join(err, p.AddJoinToken(b.Context(), token.ID, token.Secret, "")))
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- p.serve(ctx, controlListeners{gateways: listener}) }()
		defer func() {
			cancel()
			if err := <-served; err != nil {
				b.Error(err)
			}
		}()
		client := joining(b, listener.Addr().String(), token)
		defer client.DRPCConn().Close()
		tokens := makeTokens(b, p.plane)
		limits := newSharedLimits(slog.Logger{})
		defer limits.close()
		limits.connected(client)
		authorize := func(used []string) func(n int) error {
			return func(n int) error {
				_, err := client.IsAuthorized(b.Context(), &proto.IsAuthorizedRequest{Key: used[n%len(used)]})
				return err
			}
		}
		measure(b, "cold", authorize(tokens))
		measure(b, "warm", authorize(tokens[:1]))
		measure(b, "leased", func(int) error {
			leave, err := limits.Enter(b.Context(), "ada")
			if err == nil {
				leave()
			}
			return err
		})
	})
}

// measure reports how long do takes, which is told how often it was called before.
func measure(b *testing.B, name string, do func(n int) error) {
	b.Run(name, func(b *testing.B) {
		var took []time.Duration
		for b.Loop() {
			began := time.Now()
			if err := do(len(took)); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
		b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
	})
}

// makeTokens stores tokens of one user, in one transaction.
func makeTokens(b *testing.B, p *plane) (tokens []string) {
	b.Helper()
	_, first, err := p.CreateToken(b.Context(), aibridgedserver.TokenParams{Username: "ada"})
	if err != nil {
		b.Fatal(err)
	}
	err = p.db.Write(b.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for range coldTokens {
			id, secret := rand.Text()[:10], rand.Text()
			sum := sha256.Sum256([]byte(secret))
			if _, err := tx.ExecContext(ctx, `INSERT INTO api_keys (id, user_id, secret_sha256, created_at) VALUES ($1, $2, $3, $4)`, id, first.UserID, sum[:], time.Now().UnixMicro()); err != nil {
				return err
			}
			tokens = append(tokens, id+"-"+secret)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return tokens
}
