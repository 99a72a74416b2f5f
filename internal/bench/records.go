package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/proto"
)

// recordPath is where a process records by itself, without requests around it.
const recordPath = "/-/record"

const (
	recordedInterceptions = 20_000
	recordsOfEach         = 4
	recordedRecords       = recordedInterceptions * recordsOfEach
	recordingWorkers      = 32
)

// recording is a server whose records come from here.
type recording struct {
	server   *aibridged.Server
	recorder aibridge.Recorder
	control  *counting
}

// counting is a control plane that counts what it gets.
type counting struct {
	forgetful

	records atomic.Int64
}

// RecordBatch implements proto.DRPCRecorderServer.
func (c *counting) RecordBatch(_ context.Context, r *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	c.records.Add(int64(len(r.GetRecords())))
	return &proto.RecordBatchResponse{}, nil
}

// Acquire implements [aibridged.Pooler]: it takes the recorder that bridges get.
func (r *recording) Acquire(_ context.Context, _ aibridged.Request, clientFn aibridged.ClientFunc, _ aibridged.MCPProxyBuilder) (http.Handler, error) {
	client, err := clientFn()
	if err != nil {
		return nil, err
	}
	r.recorder = client.(aibridge.Recorder)
	return http.NotFoundHandler(), nil
}

// ReplaceProviders implements [aibridged.Pooler].
func (*recording) ReplaceProviders([]aibridge.Provider) {}

// Shutdown implements [aibridged.Pooler].
func (*recording) Shutdown(context.Context) error { return nil }

func newRecording(ctx context.Context) (http.Handler, func() error, error) {
	directory, err := os.MkdirTemp("", "aibridged-bench-")
	if err != nil {
		return nil, nil, err
	}
	r := &recording{control: &counting{}}
	r.server, err = aibridged.NewServer(ctx, r, controlplane.InProcess(r.control), aibridged.ServerOptions{
		Records: aibridged.RecordOptions{Directory: directory},
	})
	if err == nil {
		_, err = r.server.GetRequestHandler(ctx, aibridged.Request{})
	}
	return r, func() error { return errors.Join(r.server.Close(), os.RemoveAll(directory)) }, err
}

// ServeHTTP records interceptions, as many workers at once, and returns when the control plane has them.
func (r *recording) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	before := r.control.records.Load()
	err := inParallel(recordingWorkers, recordedInterceptions, func() error { return r.recordOne(request.Context()) })
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for r.control.records.Load()-before < recordedRecords {
		<-ticker.C
	}
}

func (r *recording) recordOne(ctx context.Context) error {
	id, now := uuid.Must(uuid.NewV7()), time.Now()
	commit, err := r.recorder.Record(ctx,
		&aibridge.InterceptionStart{
			ID: id, InitiatorID: id.String(), APIKeyID: "bench", Provider: "anthropic", ProviderName: "anthropic", Model: "claude-x",
			Metadata: aibridge.Metadata{"Username": "bench"}, StartedAt: now, Client: "Claude Code", ClientSessionID: id.String(),
			UserAgent: "claude-cli/2.1.330 (external, sdk-cli)", CredentialKind: aibridge.CredentialCentralized, CredentialHint: "sk-a...WXYZ",
		},
		&aibridge.PromptUsage{RecordID: uuid.Must(uuid.NewV7()), InterceptionID: id, Prompt: "What is in this directory?", CreatedAt: now},
	)
	if err != nil {
		return err
	}
	if err := commit.Wait(ctx); err != nil {
		return err
	}
	commit, err = r.recorder.Record(ctx,
		&aibridge.TokenUsage{
			RecordID: uuid.Must(uuid.NewV7()), InterceptionID: id, MessageID: "msg_1", InputTokens: 100, OutputTokens: 200,
			Metadata: aibridge.Metadata{"model": "claude-x"}, CreatedAt: now,
		},
		&aibridge.InterceptionEnd{RecordID: uuid.Must(uuid.NewV7()), InterceptionID: id, EndedAt: now, CredentialHint: "sk-a...WXYZ"},
	)
	if err != nil {
		return err
	}
	return commit.Wait(ctx)
}
