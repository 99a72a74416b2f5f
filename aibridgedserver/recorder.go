package aibridgedserver

import (
	"context"

	"github.com/coder/aibridged/proto"
)

// RecordInterception stores the start of an interception. A second one with the same id changes nothing.
func (s *Server) RecordInterception(
	ctx context.Context, in *proto.RecordInterceptionRequest,
) (*proto.RecordInterceptionResponse, error) {
	if err := s.storeOne(ctx, s.interception(ctx, in)); err != nil {
		return nil, err
	}
	return &proto.RecordInterceptionResponse{}, nil
}

// RecordInterceptionEnded stores the end of an interception, also if its start is not stored yet. A second end of the
// same interception changes nothing.
func (s *Server) RecordInterceptionEnded(
	ctx context.Context, in *proto.RecordInterceptionEndedRequest,
) (*proto.RecordInterceptionEndedResponse, error) {
	if err := s.storeOne(ctx, s.interceptionEnded(in)); err != nil {
		return nil, err
	}
	return &proto.RecordInterceptionEndedResponse{}, nil
}

// RecordTokenUsage stores a token usage, at most once per record id.
func (s *Server) RecordTokenUsage(
	ctx context.Context, in *proto.RecordTokenUsageRequest,
) (*proto.RecordTokenUsageResponse, error) {
	if err := s.storeOne(ctx, s.tokenUsage(ctx, in)); err != nil {
		return nil, err
	}
	return &proto.RecordTokenUsageResponse{}, nil
}

// RecordPromptUsage stores a prompt, at most once per record id.
func (s *Server) RecordPromptUsage(
	ctx context.Context, in *proto.RecordPromptUsageRequest,
) (*proto.RecordPromptUsageResponse, error) {
	if err := s.storeOne(ctx, s.promptUsage(ctx, in)); err != nil {
		return nil, err
	}
	return &proto.RecordPromptUsageResponse{}, nil
}

// RecordToolUsage stores a tool usage, at most once per record id.
func (s *Server) RecordToolUsage(
	ctx context.Context, in *proto.RecordToolUsageRequest,
) (*proto.RecordToolUsageResponse, error) {
	if err := s.storeOne(ctx, s.toolUsage(ctx, in)); err != nil {
		return nil, err
	}
	return &proto.RecordToolUsageResponse{}, nil
}

// RecordModelThought stores a thought, at most once per record id.
func (s *Server) RecordModelThought(
	ctx context.Context, in *proto.RecordModelThoughtRequest,
) (*proto.RecordModelThoughtResponse, error) {
	if err := s.storeOne(ctx, s.modelThought(ctx, in)); err != nil {
		return nil, err
	}
	return &proto.RecordModelThoughtResponse{}, nil
}

// RecordBatch stores records of several kinds. The response names the records that are not stored, and counts those
// that had been stored before. RecordBatch returns an error if ctx or the server ends first. The caller then does not
// know which records are stored, and may send all of them again.
func (s *Server) RecordBatch(ctx context.Context, in *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	all := make([]*record, len(in.GetRecords()))
	good := make([]*record, 0, len(all))
	for i, one := range in.GetRecords() {
		all[i] = s.record(ctx, one)
		if all[i].failure == nil {
			good = append(good, all[i])
		}
	}
	duplicates, err := s.writer.store(ctx, good)
	if err != nil {
		return nil, unavailable(err)
	}
	response := &proto.RecordBatchResponse{Duplicates: int32(duplicates)}
	for i, r := range all {
		if r.failure != nil {
			response.Failures = append(response.Failures, &proto.RecordFailure{
				Index:     int32(i),
				Error:     r.failure.Error(),
				Permanent: r.permanent,
			})
		}
	}
	return response, nil
}

// storeOne stores one record, in a transaction of its own.
func (s *Server) storeOne(ctx context.Context, r *record) error {
	if r.failure == nil {
		if _, err := s.writer.store(ctx, []*record{r}); err != nil {
			return unavailable(err)
		}
	}
	if r.failure != nil && !r.permanent {
		return unavailable(r.failure)
	}
	return r.failure
}
