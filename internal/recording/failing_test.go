package recording

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

// TestReadyWhileNotTaken has a control plane that takes nothing for two minutes. If it answers, the queue is not ready
// after one, with the reason; if it is away, the queue is ready all the time.
func TestReadyWhileNotTaken(t *testing.T) {
	noTable := &proto.RecordBatchResponse{Failures: []*proto.RecordFailure{{Error: "store record:\nno such table: interceptions"}}}
	for name, test := range map[string]struct {
		response *proto.RecordBatchResponse
		err      error
		want     string // Empty: it is ready.
	}{
		"cannot store":        {noTable, nil, "no such table: interceptions"},
		"fails within":        {nil, drpcerr.WithCode(errors.New("no space"), rpcstatus.Internal), "no space"},
		"away":                {nil, drpcerr.WithCode(errors.New("closed"), rpcstatus.Unavailable), ""},
		"connection ends":     {nil, context.DeadlineExceeded, ""},
		"no client":           {nil, nil, ""},
		"does not know calls": {nil, drpcerr.WithCode(errors.New("unknown"), rpcstatus.Unauthenticated), "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				queue, err := Open(Options{Durability: outbox.Memory})
				if err != nil {
					t.Fatal(err)
				}
				var well atomic.Bool
				control := &server{answer: func(*proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
					if well.Load() {
						return &proto.RecordBatchResponse{}, nil
					}
					return test.response, test.err
				}}
				queue.Deliver(func(context.Context) (proto.DRPCRecorderClient, error) {
					if name == "no client" && !well.Load() {
						return nil, errors.New("no connection")
					}
					return control, nil
				})
				if _, err := queue.Record(t.Context(), prompt("one")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(failingPatience / 2)
				if err := queue.Ready(); err != nil {
					t.Errorf("too early: %v", err)
				}
				time.Sleep(2 * failingPatience)
				err = queue.Ready()
				if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n")) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				well.Store(true)
				time.Sleep(failingPatience)
				if err := queue.Ready(); err != nil {
					t.Errorf("once records are taken: %v", err)
				}
				if err := queue.Close(t.Context(), t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
