// Package testkit has what the gateway's tests share: a control plane that keeps the records in memory, a gateway on a
// port, and cases, which are files with a request and the results that it must have.
package testkit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/coder/aibridged/proto"
)

// The user that a [ControlPlane] knows, and the only token that it accepts.
const (
	OwnerID  = "3d2a1c88-9f0e-4b57-a1a4-51e7c2b3a0d1"
	Username = "ada"
	APIKeyID = "testkeyid0"
	Token    = "testkeyid0-gateway-token-of-ada"
)

// Patience is how long a test waits for something that must happen before it fails. It is no measure of speed.
const Patience = 20 * time.Second

// ControlPlane is a DRPC server that authorises one user and keeps all records in memory, each once. The zero value is ready. It is
// safe for concurrent use.
type ControlPlane struct {
	// Authorize, Record and Configure replace the answers where set. Record is called before anything is kept.
	Authorize func(context.Context, *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error)
	Record    func(context.Context, *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error)
	Configure func(context.Context, *proto.GetMCPServerConfigsRequest) (*proto.GetMCPServerConfigsResponse, error)

	// MCPServers are the addresses of MCP servers, by their ids. They take no tokens.
	MCPServers map[string]string
	// Forgets says that turns are not kept.
	Forgets bool

	proto.DRPCRecorderUnimplementedServer
	proto.DRPCMCPConfiguratorUnimplementedServer
	proto.DRPCAuthorizerUnimplementedServer

	mu      sync.Mutex
	records []*proto.Record   // Guarded by mu.
	known   map[string]bool   // Guarded by mu; the ids of the records.
	changed chan struct{}     // Guarded by mu; closed and replaced after every batch.
	turns   map[string][]byte // Guarded by mu; by user and key.
}

// IsAuthorized implements proto.DRPCAuthorizerServer.
func (c *ControlPlane) IsAuthorized(ctx context.Context, request *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
	if c.Authorize != nil {
		return c.Authorize(ctx, request)
	}
	if request.GetKey() != Token && request.GetKeyId() != APIKeyID {
		return nil, errors.New("unknown key")
	}
	return &proto.IsAuthorizedResponse{OwnerId: OwnerID, ApiKeyId: APIKeyID, Username: Username}, nil
}

// RecordBatch implements proto.DRPCRecorderServer.
func (c *ControlPlane) RecordBatch(ctx context.Context, request *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	response := &proto.RecordBatchResponse{}
	if c.Record != nil {
		var err error
		if response, err = c.Record(ctx, request); err != nil {
			return nil, err
		}
	}
	refused := map[int]bool{}
	for _, failure := range response.GetFailures() {
		refused[int(failure.GetIndex())] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]bool{}
	}
	for i, record := range request.GetRecords() {
		id := recordID(record)
		switch {
		case refused[i]:
		case c.known[id]:
			response.Duplicates++
		default:
			c.known[id] = true
			c.records = append(c.records, record)
		}
	}
	if c.changed != nil {
		close(c.changed)
	}
	c.changed = make(chan struct{})
	return response, nil
}

// recordID returns the id by which duplicates of a record are recognised.
func recordID(record *proto.Record) string {
	switch r := record.GetRecord().(type) {
	case *proto.Record_Interception:
		return r.Interception.GetId()
	case *proto.Record_InterceptionEnded:
		return r.InterceptionEnded.GetRecordId()
	case *proto.Record_TokenUsage:
		return r.TokenUsage.GetRecordId()
	case *proto.Record_PromptUsage:
		return r.PromptUsage.GetRecordId()
	case *proto.Record_ToolUsage:
		return r.ToolUsage.GetRecordId()
	case *proto.Record_ModelThought:
		return r.ModelThought.GetRecordId()
	}
	return ""
}

// GetMCPServerConfigs implements proto.DRPCMCPConfiguratorServer.
func (c *ControlPlane) GetMCPServerConfigs(ctx context.Context, request *proto.GetMCPServerConfigsRequest) (*proto.GetMCPServerConfigsResponse, error) {
	if c.Configure != nil {
		return c.Configure(ctx, request)
	}
	response := &proto.GetMCPServerConfigsResponse{}
	for id, url := range c.MCPServers {
		response.ExternalAuthMcpConfigs = append(response.ExternalAuthMcpConfigs, &proto.MCPServerConfig{Id: id, Url: url})
	}
	return response, nil
}

// GetMCPServerAccessTokensBatch implements proto.DRPCMCPConfiguratorServer.
func (c *ControlPlane) GetMCPServerAccessTokensBatch(ctx context.Context, request *proto.GetMCPServerAccessTokensBatchRequest) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
	if c.MCPServers == nil {
		return c.DRPCMCPConfiguratorUnimplementedServer.GetMCPServerAccessTokensBatch(ctx, request)
	}
	response := &proto.GetMCPServerAccessTokensBatchResponse{AccessTokens: map[string]string{}}
	for _, id := range request.GetMcpServerConfigIds() {
		response.AccessTokens[id] = ""
	}
	return response, nil
}

// KeepTurn implements proto.DRPCMCPConfiguratorServer.
func (c *ControlPlane) KeepTurn(_ context.Context, request *proto.KeepTurnRequest) (*proto.KeepTurnResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turns == nil {
		c.turns = map[string][]byte{}
	}
	for _, key := range request.GetKeys() {
		if !c.Forgets {
			c.turns[request.GetUserId()+" "+key] = request.GetTurn()
		}
	}
	return &proto.KeepTurnResponse{}, nil
}

// FindTurns implements proto.DRPCMCPConfiguratorServer.
func (c *ControlPlane) FindTurns(_ context.Context, request *proto.FindTurnsRequest) (*proto.FindTurnsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := &proto.FindTurnsResponse{Turns: map[string][]byte{}}
	for _, key := range request.GetKeys() {
		if turn, ok := c.turns[request.GetUserId()+" "+key]; ok {
			found.Turns[key] = turn
		}
	}
	return found, nil
}

// Records returns the records so far.
func (c *ControlPlane) Records() []*proto.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*proto.Record(nil), c.records...)
}

// WaitEnds waits until n interceptions have ended and returns all records then. It fails the test where that
// takes longer than [Patience].
func (c *ControlPlane) WaitEnds(t testing.TB, n int) []*proto.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for {
		c.mu.Lock()
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		records, changed := append([]*proto.Record(nil), c.records...), c.changed
		c.mu.Unlock()
		ends := 0
		for _, record := range records {
			if record.GetInterceptionEnded() != nil {
				ends++
			}
		}
		if ends >= n {
			return records
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%d of %d interceptions ended", ends, n)
		}
	}
}
