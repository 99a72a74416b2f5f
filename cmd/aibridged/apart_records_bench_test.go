package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane/join"
	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/internal/recording"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

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
