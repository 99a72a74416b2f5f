package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/controlplane/join"
	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/internal/postgrestest"
	"github.com/coder/aibridged/internal/recording"
	"github.com/coder/aibridged/internal/testkit"
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
// control plane asks its database each time.
func BenchmarkRemoteAuthorization(b *testing.B) {
	benchmarkEngines(b, func(b *testing.B, s settings) {
		p, err := newControl(b.Context(), s, config{}, controlOptions{adminListen: adminOff, consoleListen: adminOff, logger: slog.Logger{}})
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
		for name, used := range map[string][]string{"cold": tokens, "warm": tokens[:1]} {
			b.Run(name, func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					began := time.Now()
					if _, err := client.IsAuthorized(b.Context(), &proto.IsAuthorizedRequest{Key: used[len(took)%len(used)]}); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(began))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
				b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
			})
		}
	})
}

// BenchmarkRemoteRecords records interceptions of four records each in a queue on the disk, which hands them over TLS on the
// loopback to a control plane in a process of its own. It reports the CPU time of both: of this process, which has the part of a
// gateway that handles records, and of the control plane. That of a PostgreSQL server is not among it.
func BenchmarkRemoteRecords(b *testing.B) {
	benchmarkEngines(b, func(b *testing.B, s settings) {
		b.Setenv(databaseVariable, s.postgres)
		cmd := programHere(b, nil, "control", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--console-listen", "off", "--data-dir", s.dataDir)
		control := printedBy(b, cmd, controlPrints)
		defer func() { check(b, errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait())) }()
		text, _, err := run(b.Context(), "control", "join-token", "--data-dir", s.dataDir)
		check(b, err)
		token, err := join.ParseToken(strings.TrimSpace(text))
		check(b, err)
		client := joining(b, control[1], token)
		defer client.DRPCConn().Close()
		queue, err := recording.Open(recording.Options{Directory: b.TempDir(), Durability: outbox.Sync, MaxBytes: 1 << 30})
		check(b, err)
		queue.Deliver(func(context.Context) (proto.DRPCRecorderClient, error) { return client, nil })
		defer func() { check(b, queue.Close(context.Background(), context.Background())) }()
		own, other := testkit.CPUTime(b), cpuOf(b, control[2])
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				recordOne(b, queue)
			}
		})
		for queue.Stats().Pending > 0 {
			time.Sleep(time.Millisecond)
		}
		records := float64(4 * b.N)
		b.ReportMetric(float64(testkit.CPUTime(b)-own)/records, "gateway-cpu-ns/record")
		b.ReportMetric(float64(cpuOf(b, control[2])-other)/records, "control-cpu-ns/record")
		b.ReportMetric(records/b.Elapsed().Seconds(), "records/s")
	})
}

// cpuOf returns the CPU time of the process whose operators look there.
func cpuOf(b *testing.B, operators string) time.Duration {
	b.Helper()
	response, err := http.Get(operators + "/metrics")
	check(b, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(b, err)
	found := regexp.MustCompile(`(?m)^process_cpu_seconds_total (\S+)$`).FindSubmatch(body)
	if found == nil {
		b.Skip("this system does not tell")
	}
	seconds, err := strconv.ParseFloat(string(found[1]), 64)
	check(b, err)
	return time.Duration(seconds * float64(time.Second))
}

// recordOne records an interception as a gateway does.
func recordOne(b *testing.B, queue *recording.Queue) {
	id, now := uuid.Must(uuid.NewV7()), time.Now()
	for _, records := range [][]aibridge.Record{{
		&aibridge.InterceptionStart{
			ID: id, InitiatorID: "5f0c9a3e-0000-4000-8000-000000000000", APIKeyID: "key", Provider: "anthropic", ProviderName: "anthropic", Model: "claude-x",
			Metadata: aibridge.Metadata{"Username": "ada"}, StartedAt: now, Client: "Claude Code", ClientSessionID: id.String(),
			UserAgent: "claude-cli/2.1.330 (external, sdk-cli)", CredentialKind: aibridge.CredentialCentralized, CredentialHint: "sk-a...WXYZ",
		},
		&aibridge.PromptUsage{RecordID: uuid.Must(uuid.NewV7()), InterceptionID: id, Prompt: "What is in this directory?", CreatedAt: now},
	}, {
		&aibridge.TokenUsage{RecordID: uuid.Must(uuid.NewV7()), InterceptionID: id, MessageID: "msg_1", InputTokens: 100, OutputTokens: 200, CreatedAt: now},
		&aibridge.InterceptionEnd{RecordID: uuid.Must(uuid.NewV7()), InterceptionID: id, EndedAt: now, CredentialHint: "sk-a...WXYZ"},
	}} {
		commit, err := queue.Record(b.Context(), records...)
		if err == nil && commit != nil {
			err = commit.Wait(b.Context())
		}
		if err != nil {
			b.Error(err)
		}
	}
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
