package aibridged

import (
	"context"

	"storj.io/drpc"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/proto"
)

// pooledClient is the control plane as a server shows it to its pool: what is recorded goes into the server's queue, also
// while there is no control plane, and all else is asked of the client of the moment. It is safe for concurrent use.
type pooledClient struct {
	server *Server
}

var (
	_ DRPCClient        = pooledClient{}
	_ aibridge.Recorder = pooledClient{}
)

// pooledClient implements [ClientFunc]. It never fails.
func (s *Server) pooledClient() (DRPCClient, error) { return pooledClient{s}, nil }

// DRPCConn returns the connection to the control plane, nil where there is none.
func (c pooledClient) DRPCConn() drpc.Conn {
	client, err := c.server.clientNow()
	if err != nil {
		return nil
	}
	return client.DRPCConn()
}

// Record implements [aibridge.Recorder].
func (c pooledClient) Record(ctx context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	return c.server.records.Record(ctx, records...)
}

// queue takes a record that came as a message, and returns when it is safe.
func (c pooledClient) queue(ctx context.Context, records ...*proto.Record) error {
	if len(records) == 0 {
		return nil
	}
	commit, err := c.server.records.Take(ctx, records)
	if err != nil || commit == nil {
		return err
	}
	return commit.Wait(ctx)
}

// RecordInterception implements [DRPCClient].
func (c pooledClient) RecordInterception(ctx context.Context, in *proto.RecordInterceptionRequest) (*proto.RecordInterceptionResponse, error) {
	return &proto.RecordInterceptionResponse{}, c.queue(ctx, &proto.Record{Record: &proto.Record_Interception{Interception: in}})
}

// RecordInterceptionEnded implements [DRPCClient].
func (c pooledClient) RecordInterceptionEnded(ctx context.Context, in *proto.RecordInterceptionEndedRequest) (*proto.RecordInterceptionEndedResponse, error) {
	return &proto.RecordInterceptionEndedResponse{}, c.queue(ctx, &proto.Record{Record: &proto.Record_InterceptionEnded{InterceptionEnded: in}})
}

// RecordTokenUsage implements [DRPCClient].
func (c pooledClient) RecordTokenUsage(ctx context.Context, in *proto.RecordTokenUsageRequest) (*proto.RecordTokenUsageResponse, error) {
	return &proto.RecordTokenUsageResponse{}, c.queue(ctx, &proto.Record{Record: &proto.Record_TokenUsage{TokenUsage: in}})
}

// RecordPromptUsage implements [DRPCClient].
func (c pooledClient) RecordPromptUsage(ctx context.Context, in *proto.RecordPromptUsageRequest) (*proto.RecordPromptUsageResponse, error) {
	return &proto.RecordPromptUsageResponse{}, c.queue(ctx, &proto.Record{Record: &proto.Record_PromptUsage{PromptUsage: in}})
}

// RecordToolUsage implements [DRPCClient].
func (c pooledClient) RecordToolUsage(ctx context.Context, in *proto.RecordToolUsageRequest) (*proto.RecordToolUsageResponse, error) {
	return &proto.RecordToolUsageResponse{}, c.queue(ctx, &proto.Record{Record: &proto.Record_ToolUsage{ToolUsage: in}})
}

// RecordModelThought implements [DRPCClient].
func (c pooledClient) RecordModelThought(ctx context.Context, in *proto.RecordModelThoughtRequest) (*proto.RecordModelThoughtResponse, error) {
	return &proto.RecordModelThoughtResponse{}, c.queue(ctx, &proto.Record{Record: &proto.Record_ModelThought{ModelThought: in}})
}

// RecordBatch implements [DRPCClient].
func (c pooledClient) RecordBatch(ctx context.Context, in *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	return &proto.RecordBatchResponse{}, c.queue(ctx, in.GetRecords()...)
}

// GetMCPServerConfigs implements [DRPCClient].
func (c pooledClient) GetMCPServerConfigs(ctx context.Context, in *proto.GetMCPServerConfigsRequest) (*proto.GetMCPServerConfigsResponse, error) {
	client, err := c.server.clientNow()
	if err != nil {
		return nil, err
	}
	return client.GetMCPServerConfigs(ctx, in)
}

// GetMCPServerAccessTokensBatch implements [DRPCClient].
func (c pooledClient) GetMCPServerAccessTokensBatch(ctx context.Context, in *proto.GetMCPServerAccessTokensBatchRequest) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
	client, err := c.server.clientNow()
	if err != nil {
		return nil, err
	}
	return client.GetMCPServerAccessTokensBatch(ctx, in)
}

// IsAuthorized implements [DRPCClient].
func (c pooledClient) IsAuthorized(ctx context.Context, in *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
	client, err := c.server.clientNow()
	if err != nil {
		return nil, err
	}
	return client.IsAuthorized(ctx, in)
}
