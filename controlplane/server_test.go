package controlplane_test

import (
	"context"

	protobuf "google.golang.org/protobuf/proto"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/proto"
)

// fake is a control plane that answers every call with one function. It passes a nil answer on as nil.
type fake func(ctx context.Context, rpc string, in protobuf.Message) (protobuf.Message, error)

var _ aibridged.DRPCServer = fake(nil)

func answer[Out any](ctx context.Context, f fake, rpc string, in protobuf.Message) (*Out, error) {
	out, err := f(ctx, rpc, in)
	if out == nil {
		return nil, err
	}
	return any(out).(*Out), err
}

func (f fake) RecordInterception(ctx context.Context, in *proto.RecordInterceptionRequest) (*proto.RecordInterceptionResponse, error) {
	return answer[proto.RecordInterceptionResponse](ctx, f, "RecordInterception", in)
}

func (f fake) RecordInterceptionEnded(ctx context.Context, in *proto.RecordInterceptionEndedRequest) (*proto.RecordInterceptionEndedResponse, error) {
	return answer[proto.RecordInterceptionEndedResponse](ctx, f, "RecordInterceptionEnded", in)
}

func (f fake) RecordTokenUsage(ctx context.Context, in *proto.RecordTokenUsageRequest) (*proto.RecordTokenUsageResponse, error) {
	return answer[proto.RecordTokenUsageResponse](ctx, f, "RecordTokenUsage", in)
}

func (f fake) RecordPromptUsage(ctx context.Context, in *proto.RecordPromptUsageRequest) (*proto.RecordPromptUsageResponse, error) {
	return answer[proto.RecordPromptUsageResponse](ctx, f, "RecordPromptUsage", in)
}

func (f fake) RecordToolUsage(ctx context.Context, in *proto.RecordToolUsageRequest) (*proto.RecordToolUsageResponse, error) {
	return answer[proto.RecordToolUsageResponse](ctx, f, "RecordToolUsage", in)
}

func (f fake) RecordModelThought(ctx context.Context, in *proto.RecordModelThoughtRequest) (*proto.RecordModelThoughtResponse, error) {
	return answer[proto.RecordModelThoughtResponse](ctx, f, "RecordModelThought", in)
}

func (f fake) RecordBatch(ctx context.Context, in *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	return answer[proto.RecordBatchResponse](ctx, f, "RecordBatch", in)
}

func (f fake) GetMCPServerConfigs(ctx context.Context, in *proto.GetMCPServerConfigsRequest) (*proto.GetMCPServerConfigsResponse, error) {
	return answer[proto.GetMCPServerConfigsResponse](ctx, f, "GetMCPServerConfigs", in)
}

func (f fake) GetMCPServerAccessTokensBatch(ctx context.Context, in *proto.GetMCPServerAccessTokensBatchRequest) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
	return answer[proto.GetMCPServerAccessTokensBatchResponse](ctx, f, "GetMCPServerAccessTokensBatch", in)
}

func (f fake) KeepTurn(ctx context.Context, in *proto.KeepTurnRequest) (*proto.KeepTurnResponse, error) {
	return answer[proto.KeepTurnResponse](ctx, f, "KeepTurn", in)
}

func (f fake) FindTurns(ctx context.Context, in *proto.FindTurnsRequest) (*proto.FindTurnsResponse, error) {
	return answer[proto.FindTurnsResponse](ctx, f, "FindTurns", in)
}

func (f fake) IsAuthorized(ctx context.Context, in *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
	return answer[proto.IsAuthorizedResponse](ctx, f, "IsAuthorized", in)
}

// echo answers IsAuthorized with the key as user name.
func echo(_ context.Context, _ string, in protobuf.Message) (protobuf.Message, error) {
	return &proto.IsAuthorizedResponse{Username: in.(*proto.IsAuthorizedRequest).GetKey()}, nil
}

// lacking is a control plane that implements nothing.
type lacking struct {
	proto.DRPCRecorderUnimplementedServer
	proto.DRPCMCPConfiguratorUnimplementedServer
	proto.DRPCAuthorizerUnimplementedServer
}
