package aibridged

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

const (
	// keepTurnTimeout and findTurnsTimeout bound the calls of a turn store: a client waits for them.
	keepTurnTimeout  = 2 * time.Second
	findTurnsTimeout = time.Second
	// mostFoundKeys is how many keys the control plane takes in one call.
	mostFoundKeys = 1000
	// lackingPause is how long a control plane that does not know turns is not asked again.
	lackingPause = time.Minute
	// mostFoundTurns bounds what Find returns, in bytes.
	mostFoundTurns = 16 << 20
)

// turnStore keeps turns at the control plane. One that does not know turns takes none and finds none, which is no error:
// each gateway then has only what it remembers itself. It is asked again after a minute, since it may have been replaced.
type turnStore struct {
	clientFn ClientFunc
	lacking  atomic.Int64 // Until when the control plane is not asked, in nanoseconds since 1970.
}

var _ aibridge.TurnStore = (*turnStore)(nil)

func newTurnStore(clientFn ClientFunc) *turnStore { return &turnStore{clientFn: clientFn} }

// isLacking reports whether the control plane is known not to know turns.
func (s *turnStore) isLacking() bool { return time.Now().UnixNano() < s.lacking.Load() }

// judge returns the error of a call. It notes if the control plane does not know the call, which is no error.
func (s *turnStore) judge(call string, err error) error {
	switch {
	case err == nil:
		return nil
	case drpcerr.Code(err) == rpcstatus.Unimplemented:
		s.lacking.Store(time.Now().Add(lackingPause).UnixNano())
		return nil
	}
	return fmt.Errorf("%s at the control plane: %w", call, err)
}

// Keep implements [aibridge.TurnStore].
func (s *turnStore) Keep(ctx context.Context, turn aibridge.KeptTurn) error {
	if s.isLacking() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keepTurnTimeout)
	defer cancel()
	client, err := s.clientFn()
	if err == nil {
		_, err = client.KeepTurn(ctx, &proto.KeepTurnRequest{
			UserId: turn.InitiatorID, Keys: turn.Keys, Turn: turn.Turn, ExpiresAt: timestamppb.New(time.Now().Add(turn.Lifetime)),
		})
	}
	return s.judge("keep turn", err)
}

// Find implements [aibridge.TurnStore]. It fails if the turns take more than 16 MiB together.
func (s *turnStore) Find(ctx context.Context, initiatorID string, keys []string) (map[string][]byte, error) {
	if s.isLacking() || len(keys) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, findTurnsTimeout)
	defer cancel()
	found, err := s.find(ctx, initiatorID, keys)
	return found, s.judge("find turns", err)
}

func (s *turnStore) find(ctx context.Context, initiatorID string, keys []string) (map[string][]byte, error) {
	client, err := s.clientFn()
	if err != nil {
		return nil, err
	}
	found, size := map[string][]byte{}, 0
	for chunk := range slices.Chunk(keys, mostFoundKeys) {
		for more := true; more; {
			answer, err := client.FindTurns(ctx, &proto.FindTurnsRequest{UserId: initiatorID, Keys: chunk})
			if err != nil {
				return nil, err
			}
			for _, turn := range answer.GetTurns() {
				size += len(turn)
			}
			if size > mostFoundTurns {
				return nil, fmt.Errorf("more than %d bytes", mostFoundTurns)
			}
			maps.Copy(found, answer.GetTurns())
			chunk = slices.DeleteFunc(slices.Clone(chunk), func(key string) bool { return found[key] != nil })
			// An answer without a turn brings nothing new, whatever it says.
			more = answer.GetMore() && len(answer.GetTurns()) > 0 && len(chunk) > 0
		}
	}
	return found, nil
}
