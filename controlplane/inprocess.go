package controlplane

import (
	"context"
	"errors"
	"fmt"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/internal/contain"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

// InProcess returns a dialer whose client calls server's methods directly, in the caller's goroutine and without
// copying messages: caller and server must treat the messages as immutable. A call returns when the method does. If the
// context of a call has already ended, the server is not called. A panic of the server becomes an error that wraps a
// [*contain.Panic].
//
// The dialer never fails. Its client is safe for concurrent use if server is, its DRPCConn is nil, and there is nothing
// to close.
func InProcess(server aibridged.DRPCServer) aibridged.Dialer {
	client := local{server}
	return func(context.Context) (aibridged.DRPCClient, error) { return client, nil }
}

type local struct{ server aibridged.DRPCServer }

func (local) DRPCConn() drpc.Conn { return nil }

func (l local) RecordInterception(ctx context.Context, in *proto.RecordInterceptionRequest) (*proto.RecordInterceptionResponse, error) {
	return call(ctx, "RecordInterception", l.server.RecordInterception, in)
}

func (l local) RecordInterceptionEnded(ctx context.Context, in *proto.RecordInterceptionEndedRequest) (*proto.RecordInterceptionEndedResponse, error) {
	return call(ctx, "RecordInterceptionEnded", l.server.RecordInterceptionEnded, in)
}

func (l local) RecordTokenUsage(ctx context.Context, in *proto.RecordTokenUsageRequest) (*proto.RecordTokenUsageResponse, error) {
	return call(ctx, "RecordTokenUsage", l.server.RecordTokenUsage, in)
}

func (l local) RecordPromptUsage(ctx context.Context, in *proto.RecordPromptUsageRequest) (*proto.RecordPromptUsageResponse, error) {
	return call(ctx, "RecordPromptUsage", l.server.RecordPromptUsage, in)
}

func (l local) RecordToolUsage(ctx context.Context, in *proto.RecordToolUsageRequest) (*proto.RecordToolUsageResponse, error) {
	return call(ctx, "RecordToolUsage", l.server.RecordToolUsage, in)
}

func (l local) RecordModelThought(ctx context.Context, in *proto.RecordModelThoughtRequest) (*proto.RecordModelThoughtResponse, error) {
	return call(ctx, "RecordModelThought", l.server.RecordModelThought, in)
}

func (l local) RecordBatch(ctx context.Context, in *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	return call(ctx, "RecordBatch", l.server.RecordBatch, in)
}

func (l local) GetMCPServerConfigs(ctx context.Context, in *proto.GetMCPServerConfigsRequest) (*proto.GetMCPServerConfigsResponse, error) {
	return call(ctx, "GetMCPServerConfigs", l.server.GetMCPServerConfigs, in)
}

func (l local) GetMCPServerAccessTokensBatch(ctx context.Context, in *proto.GetMCPServerAccessTokensBatchRequest) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
	return call(ctx, "GetMCPServerAccessTokensBatch", l.server.GetMCPServerAccessTokensBatch, in)
}

func (l local) KeepTurn(ctx context.Context, in *proto.KeepTurnRequest) (*proto.KeepTurnResponse, error) {
	return call(ctx, "KeepTurn", l.server.KeepTurn, in)
}

func (l local) FindTurns(ctx context.Context, in *proto.FindTurnsRequest) (*proto.FindTurnsResponse, error) {
	return call(ctx, "FindTurns", l.server.FindTurns, in)
}

func (l local) IsAuthorized(ctx context.Context, in *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
	return call(ctx, "IsAuthorized", l.server.IsAuthorized, in)
}

func call[In, Out any](ctx context.Context, rpc string, method func(context.Context, *In) (*Out, error), in *In) (out *Out, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer func() {
		if value := recover(); value != nil {
			out, err = nil, drpcerr.WithCode(fmt.Errorf("%s: %w", rpc, contain.Recovered(value)), rpcstatus.Internal)
		}
	}()
	out, err = method(ctx, in)
	if err != nil {
		return nil, asOverNetwork(ctx, err)
	}
	if out == nil {
		return nil, unavailable("%s: the control plane gave no answer", rpc)
	}
	return out, nil
}

// asOverNetwork returns a handler's error as a caller over a network would get it: an error is context.Canceled or
// context.DeadlineExceeded only if the caller's own context has ended.
func asOverNetwork(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return drpcerr.WithCode(errors.New(err.Error()), drpcerr.Code(err))
	}
	return err
}
