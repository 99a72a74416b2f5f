package aibridged

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

// turnsClient is a control plane that knows turns, a limited number of them in an answer.
type turnsClient struct {
	DRPCClient // Nil: no other method is called.

	kept   []*proto.KeepTurnRequest
	turns  map[string][]byte
	asked  [][]string
	most   int
	failed error
	hangs  bool
}

func (c *turnsClient) KeepTurn(ctx context.Context, in *proto.KeepTurnRequest) (*proto.KeepTurnResponse, error) {
	if c.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c.kept = append(c.kept, in)
	return &proto.KeepTurnResponse{}, c.failed
}

func (c *turnsClient) FindTurns(ctx context.Context, in *proto.FindTurnsRequest) (*proto.FindTurnsResponse, error) {
	if c.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c.asked = append(c.asked, in.GetKeys())
	answer := &proto.FindTurnsResponse{Turns: map[string][]byte{}}
	for _, key := range in.GetKeys() {
		turn, ok := c.turns[key]
		if ok && len(answer.GetTurns()) == c.most {
			answer.More = true
			break
		}
		if ok {
			answer.Turns[key] = turn
		}
	}
	return answer, c.failed
}

func (c *turnsClient) store() *turnStore {
	return newTurnStore(func() (DRPCClient, error) { return c, nil })
}

func TestTurnStoreKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &turnsClient{}
		turn := aibridge.KeptTurn{InitiatorID: "ada", Keys: []string{"a", "b"}, Turn: []byte("turn"), Lifetime: time.Hour}
		if err := c.store().Keep(t.Context(), turn); err != nil {
			t.Fatal(err)
		}
		got := c.kept[0]
		if got.GetUserId() != "ada" || !slices.Equal(got.GetKeys(), turn.Keys) || string(got.GetTurn()) != "turn" ||
			!got.GetExpiresAt().AsTime().Equal(time.Now().Add(time.Hour)) {
			t.Errorf("kept %v", got)
		}
	})
}

// TestTurnStoreFindsAll finds more keys than a call takes, and more turns than an answer holds.
func TestTurnStoreFindsAll(t *testing.T) {
	c := &turnsClient{turns: map[string][]byte{}, most: 300}
	keys := make([]string, 2500)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
		if i%2 == 0 {
			c.turns[keys[i]] = []byte(keys[i])
		}
	}
	given := slices.Clone(keys)
	got, err := c.store().Find(t.Context(), "ada", keys)
	if err != nil || !maps.EqualFunc(got, c.turns, bytes.Equal) {
		t.Errorf("found %d of %d turns, %v", len(got), len(c.turns), err)
	}
	if !slices.Equal(keys, given) {
		t.Error("the caller's keys have changed")
	}
	for _, asked := range c.asked {
		if len(asked) > 1000 {
			t.Errorf("%d keys were asked for in one call", len(asked))
		}
	}
	c.asked = nil
	if got, err := c.store().Find(t.Context(), "ada", nil); len(got) != 0 || err != nil || len(c.asked) != 0 {
		t.Errorf("without keys: %v, %v, %d calls", got, err, len(c.asked))
	}
}

func TestTurnStoreFindsNoMoreThanItMay(t *testing.T) {
	c := &turnsClient{turns: map[string][]byte{}, most: 1000}
	var keys []string
	for i := range 18 {
		keys = append(keys, fmt.Sprint(i))
		c.turns[keys[i]] = make([]byte, 1<<20)
	}
	if got, err := c.store().Find(t.Context(), "ada", keys); got != nil || err == nil {
		t.Errorf("found %d turns, %v", len(got), err)
	}
	// A control plane that always promises more, and brings nothing.
	c.most = 0
	if got, err := c.store().Find(t.Context(), "ada", keys); len(got) != 0 || err != nil {
		t.Errorf("found %d turns, %v", len(got), err)
	}
}

func TestTurnStoreWithoutAControlPlaneThatKnowsTurns(t *testing.T) {
	for _, test := range []struct {
		failed error
		fails  bool
	}{
		{drpcerr.WithCode(errors.New("unknown rpc"), rpcstatus.Unimplemented), false},
		{drpcerr.WithCode(errors.New("locked"), rpcstatus.Unavailable), true},
		{errors.New("no UUID"), true},
	} {
		c := &turnsClient{failed: test.failed}
		if err := c.store().Keep(t.Context(), aibridge.KeptTurn{}); (err != nil) != test.fails {
			t.Errorf("%v: keep: %v", test.failed, err)
		}
		if got, err := c.store().Find(t.Context(), "ada", []string{"a"}); (err != nil) != test.fails || len(got) != 0 {
			t.Errorf("%v: find: %v, %v", test.failed, got, err)
		}
	}
	none := newTurnStore(func() (DRPCClient, error) { return nil, ErrConnect })
	if err := none.Keep(t.Context(), aibridge.KeptTurn{}); !errors.Is(err, ErrConnect) {
		t.Errorf("keep without a connection: %v", err)
	}
	if _, err := none.Find(t.Context(), "ada", []string{"a"}); !errors.Is(err, ErrConnect) {
		t.Errorf("find without a connection: %v", err)
	}
}

// TestTurnStoreAsksAnewAfterAMinute asks a control plane that does not know turns once a minute, and finds that it is replaced.
func TestTurnStoreAsksAnewAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &turnsClient{failed: drpcerr.WithCode(errors.New("unknown rpc"), rpcstatus.Unimplemented), turns: map[string][]byte{"a": []byte("turn")}, most: 1}
		s := c.store()
		find := func() string {
			t.Helper()
			got, err := s.Find(t.Context(), "ada", []string{"a"})
			if err == nil {
				err = s.Keep(t.Context(), aibridge.KeptTurn{})
			}
			if err != nil {
				t.Error(err)
			}
			return string(got["a"])
		}
		for range 3 {
			find()
		}
		c.failed = nil
		time.Sleep(time.Minute - time.Nanosecond)
		if find(); len(c.asked) != 1 || len(c.kept) != 0 {
			t.Errorf("within a minute: %d and %d calls", len(c.asked), len(c.kept))
		}
		time.Sleep(time.Nanosecond)
		if got := find(); got != "turn" || len(c.asked) != 2 || len(c.kept) != 1 {
			t.Errorf("after a minute: %q, %d and %d calls", got, len(c.asked), len(c.kept))
		}
	})
}

func TestTurnStoreWaitsForALimitedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, began := &turnsClient{hangs: true}, time.Now()
		if err := c.store().Keep(t.Context(), aibridge.KeptTurn{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 2*time.Second {
			t.Errorf("keep: %v after %s", err, time.Since(began))
		}
		began = time.Now()
		if _, err := c.store().Find(t.Context(), "ada", []string{"a"}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("find: %v after %s", err, time.Since(began))
		}
	})
}
