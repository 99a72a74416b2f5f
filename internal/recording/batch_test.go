package recording

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	protobuf "google.golang.org/protobuf/proto"
	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

// server is a control plane, reached by a call or over a connection.
type server struct {
	proto.DRPCRecorderClient // Nil: records come in batches, or are prompts.

	remote  bool
	answer  func(*proto.RecordBatchRequest) (*proto.RecordBatchResponse, error)
	batches []*proto.RecordBatchRequest
	sizes   []int
	single  []string // The prompts that came by themselves.
}

func (s *server) DRPCConn() drpc.Conn {
	if s.remote {
		return conn{s}
	}
	return nil
}

func (s *server) RecordBatch(_ context.Context, in *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
	s.batches = append(s.batches, in)
	if s.answer == nil {
		return &proto.RecordBatchResponse{}, nil
	}
	return s.answer(in)
}

func (s *server) RecordPromptUsage(_ context.Context, in *proto.RecordPromptUsageRequest) (*proto.RecordPromptUsageResponse, error) {
	s.single = append(s.single, in.GetPrompt())
	return &proto.RecordPromptUsageResponse{}, nil
}

// conn is a connection to a server: all that goes over it is bytes.
type conn struct{ *server }

func (conn) Close() error            { return nil }
func (conn) Closed() <-chan struct{} { return nil }
func (conn) NewStream(context.Context, string, drpc.Encoding) (drpc.Stream, error) {
	return nil, errors.ErrUnsupported
}

func (c conn) Invoke(ctx context.Context, rpc string, enc drpc.Encoding, in, out drpc.Message) error {
	sent, err := enc.Marshal(in)
	if err != nil {
		return err
	}
	request := &proto.RecordBatchRequest{}
	if err := protobuf.Unmarshal(sent, request); err != nil || rpc != recordBatchRPC {
		return fmt.Errorf("%s: %w", rpc, err)
	}
	c.sizes = append(c.sizes, len(sent))
	response, err := c.RecordBatch(ctx, request)
	if err != nil {
		return err
	}
	answered, err := protobuf.Marshal(response)
	if err != nil {
		return err
	}
	return enc.Unmarshal(answered, out)
}

// onBoth runs a test for a control plane in this process and for one behind a connection.
func onBoth(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	for name, remote := range map[string]bool{"in process": false, "connection": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &server{remote: remote})
		})
	}
}

func prompt(text string) aibridge.Record {
	return &aibridge.PromptUsage{RecordID: uuid.New(), InterceptionID: uuid.New(), Prompt: text}
}

func entriesOf(t *testing.T, records ...aibridge.Record) [][]byte {
	t.Helper()
	entries, err := new(encoder).encode(records)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// checkSent compares what a server got with records, in their order.
func (s *server) checkSent(t *testing.T, records ...aibridge.Record) {
	t.Helper()
	var got []*proto.Record
	for _, batch := range s.batches {
		got = append(got, batch.GetRecords()...)
	}
	if len(got) != len(records) {
		t.Fatalf("%d records came, want %d", len(got), len(records))
	}
	for i, record := range records {
		if want := plainRecord(record); !protobuf.Equal(got[i], want) {
			t.Errorf("record %d: %.200v, want %.200v", i, got[i], want)
		}
	}
}

// TestSend hands over records of all kinds, which are more than one call carries over a connection.
func TestSend(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server) {
		records := shortInterception()
		for n := range 9 {
			records = append(records, prompt(strings.Repeat(fmt.Sprint(n), 1<<20)))
		}
		failures, err := new(delivery).send(t.Context(), s, entriesOf(t, records...))
		if err != nil || len(failures) != 0 {
			t.Fatalf("%v, %v", failures, err)
		}
		s.checkSent(t, records...)
		for _, size := range s.sizes {
			if size > batchBytes {
				t.Errorf("a request of %d bytes", size)
			}
		}
		if want := map[bool]int{false: 1, true: 5}[s.remote]; len(s.batches) != want {
			t.Errorf("%d batches, want %d", len(s.batches), want)
		}
	})
}

// TestSendLarge has a record that no call carries over a connection: it is cut there, and says so.
func TestSendLarge(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server) {
		large := prompt(strings.Repeat("x", 5<<20))
		if failures, err := new(delivery).send(t.Context(), s, entriesOf(t, prompt("before"), large, prompt("after"))); err != nil || len(failures) != 0 {
			t.Fatalf("%v, %v", failures, err)
		}
		var got []*proto.Record
		for _, batch := range s.batches {
			got = append(got, batch.GetRecords()...)
		}
		text, flag := got[1].GetPromptUsage().GetPrompt(), got[1].GetPromptUsage().GetMetadata()["truncated"]
		if len(got) != 3 || s.remote != (len(text) == textBytes) || s.remote != (flag != nil) || !s.remote && len(text) != 5<<20 {
			t.Errorf("%d records, the second with %d bytes, truncated: %v", len(got), len(text), flag)
		}
	})
}

// TestSendUnreadable has entries that are no records, and a server that refuses one of the others: each is named by its
// own index, and all others are stored.
func TestSendUnreadable(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server) {
		s.answer = func(in *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
			last := len(in.GetRecords()) - 1
			return &proto.RecordBatchResponse{Failures: []*proto.RecordFailure{{Index: int32(last), Error: "no", Permanent: true}}, Duplicates: 1}, nil
		}
		good, bad := prompt("good"), prompt("bad")
		entries := entriesOf(t, good, bad)
		var d delivery
		failures, err := d.send(t.Context(), s, [][]byte{[]byte("short"), entries[0], []byte("short again"), entries[1]})
		if err != nil || d.duplicates != 1 {
			t.Fatalf("%v, %d duplicates", err, d.duplicates)
		}
		permanent := map[int]bool{}
		for _, f := range failures {
			permanent[f.Index] = f.Permanent
		}
		if len(failures) != 3 || !permanent[0] || !permanent[2] || !permanent[3] {
			t.Errorf("failures %v", failures)
		}
		s.checkSent(t, good, bad)
		if failures, err := d.send(t.Context(), s, [][]byte{nil}); err != nil || len(failures) != 1 {
			t.Errorf("nothing to send: %v, %v", failures, err)
		}
	})
}

// TestSendDamagedMessage has an entry whose message is damaged. A server behind a connection cannot read the batch, and
// gets the other records one by one; a server in this process never sees the entry.
func TestSendDamagedMessage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server) {
		damaged := append(make([]byte, entryHeadBytes), 0xff)
		entries := entriesOf(t, prompt("one"), prompt("two"))
		failures, err := new(delivery).send(t.Context(), s, [][]byte{entries[0], damaged, entries[1]})
		if err != nil || len(failures) != 1 || failures[0].Index != 1 || !failures[0].Permanent {
			t.Errorf("%v, %v", failures, err)
		}
		if came := len(s.single); s.remote != (came == 2) {
			t.Errorf("%q came singly", s.single)
		}
	})
}

// TestSendAway has a server that is lost before the first batch, or after it.
func TestSendAway(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server) {
		away := drpcerr.WithCode(errors.New("away"), rpcstatus.Unavailable)
		s.answer = func(*proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) { return nil, away }
		large := strings.Repeat("x", 2<<20)
		entries := entriesOf(t, prompt(large), prompt(large), prompt(large))
		if failures, err := new(delivery).send(t.Context(), s, entries); !errors.Is(err, away) || failures != nil {
			t.Errorf("%v, %v", failures, err)
		}
		s.answer = func(*proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
			if len(s.batches) == 2+1 {
				return nil, away
			}
			return &proto.RecordBatchResponse{}, nil
		}
		failures, err := new(delivery).send(t.Context(), s, entries)
		var want []outbox.Failure
		if s.remote {
			want = []outbox.Failure{{Index: 1, Err: away}, {Index: 2, Err: away}}
		}
		if err != nil || fmt.Sprint(failures) != fmt.Sprint(want) {
			t.Errorf("%v, %v, want %v", failures, err, want)
		}
	})
}
