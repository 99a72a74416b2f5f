package aibridged_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// recorderOf returns the recorder that the bridges of a server are given.
func recorderOf(tb testing.TB, options aibridged.ServerOptions, dialer aibridged.Dialer) aibridge.Recorder {
	tb.Helper()
	var recorder aibridge.Recorder
	server, err := aibridged.NewServer(tb.Context(), recorderPool{&recorder}, dialer, options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := server.Close(); err != nil {
			tb.Error(err)
		}
	})
	return recorder
}

// recorderPool is a pool that only notes the recorder that it is given.
type recorderPool struct{ recorder *aibridge.Recorder }

func (p recorderPool) RecordInto(recorder aibridge.Recorder) { *p.recorder = recorder }

func (recorderPool) Acquire(context.Context, aibridged.Request, aibridged.ClientFunc, aibridged.MCPProxyBuilder) (http.Handler, error) {
	return http.NotFoundHandler(), nil
}

func (recorderPool) ReplaceProviders([]aibridge.Provider) {}
func (recorderPool) Shutdown(context.Context) error       { return nil }

// BenchmarkRecord measures an interception's four records from capture to the batch at the control plane, with 32
// interceptions at a time. It also reports the process's CPU time. A capture that finds no room waits for the next delivery.
func BenchmarkRecord(b *testing.B) {
	for _, durability := range []aibridged.Durability{aibridged.DurabilitySync, aibridged.DurabilityKernel, aibridged.DurabilityMemory} {
		b.Run(string(durability), func(b *testing.B) {
			options := aibridged.RecordOptions{Durability: durability}
			if durability != aibridged.DurabilityMemory {
				options.Directory = b.TempDir()
			}
			control := &forgetful{took: make(chan struct{}, 1)}
			recorder := patient{recorderOf(b, aibridged.ServerOptions{Records: options}, controlplane.InProcess(control)), control.took}
			b.ReportAllocs()
			b.SetParallelism(16)
			before := testkit.CPUTime(b)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					record(b, recorder, startOf(uuid.Must(uuid.NewV7())))
				}
			})
			b.ReportMetric(float64(testkit.CPUTime(b)-before)/float64(4*b.N), "cpu-ns/record")
		})
	}
}

// forgetful is a control plane that accepts records and keeps none.
type forgetful struct {
	testkit.ControlPlane

	took chan struct{} // Receives after a batch was accepted. It has room for one value.
}

func (f *forgetful) RecordBatch(context.Context, *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	select {
	case f.took <- struct{}{}:
	default:
	}
	return &proto.RecordBatchResponse{}, nil
}

// patient is a recorder that waits for room. It tries again after each batch that the control plane accepted.
type patient struct {
	aibridge.Recorder

	took <-chan struct{} // Receives after a batch was accepted.
}

func (p patient) Record(ctx context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	for {
		commit, err := p.Recorder.Record(ctx, records...)
		if !errors.Is(err, aibridge.ErrNoRoom) {
			return commit, err
		}
		select {
		case <-p.took:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func startOf(id uuid.UUID) *aibridge.InterceptionStart {
	return &aibridge.InterceptionStart{
		ID: id, InitiatorID: id.String(), APIKeyID: "key", Provider: "anthropic", ProviderName: "anthropic", Model: "claude-x",
		Metadata: aibridge.Metadata{"Username": "ada"}, StartedAt: time.Now(), Client: "Claude Code", ClientSessionID: id.String(),
		UserAgent: "claude-cli/2.1.330 (external, sdk-cli)", CredentialKind: aibridge.CredentialCentralized, CredentialHint: "sk-a...WXYZ",
		RequestBytes: 1000, RequestSHA256: make([]byte, 32),
	}
}

// record records an interception as a bridge does.
func record(tb testing.TB, recorder aibridge.Recorder, start *aibridge.InterceptionStart) {
	for _, records := range [][]aibridge.Record{{
		start,
		&aibridge.PromptUsage{RecordID: uuid.Must(uuid.NewV7()), InterceptionID: start.ID, Prompt: "What is in this directory?", CreatedAt: start.StartedAt},
	}, {
		&aibridge.TokenUsage{
			RecordID: uuid.Must(uuid.NewV7()), InterceptionID: start.ID, MessageID: "msg_1", InputTokens: 100, OutputTokens: 200,
			Metadata: aibridge.Metadata{"model": "claude-x"}, CreatedAt: start.StartedAt,
		},
		&aibridge.InterceptionEnd{RecordID: uuid.Must(uuid.NewV7()), InterceptionID: start.ID, EndedAt: start.StartedAt, CredentialHint: "sk-a...WXYZ", ResponseSHA256: make([]byte, 32)},
	}} {
		commit, err := recorder.Record(tb.Context(), records...)
		if err == nil && commit != nil {
			err = commit.Wait(tb.Context())
		}
		if err != nil {
			tb.Error(err)
		}
	}
}
