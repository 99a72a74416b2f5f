package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/proto"
)

// TestConformance checks that every way of connecting behaves the same.
func TestConformance(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		test func(*testing.T, link)
	}{
		{"every call carries every field", testFields},
		{"errors keep text and code", testErrors},
		{"an ended context reaches nobody", testEndedContext},
		{"a cancelled call ends on both sides", testCancel},
		{"a deadline ends the call on both sides", testDeadline},
		{"a handler's context error is not the caller's", testForeignContextError},
		{"a panic fails one call", testPanic},
		{"no answer is an error", testNoAnswer},
		{"a server that lacks a call says so", testUnimplemented},
		{"one cancelled call among 64", testOneCancelled},
		{"answers are never crossed", testCrossing},
		{"large messages", testLarge},
	}
	for _, link := range links() {
		t.Run(link.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.test(t, link)
				})
			}
		})
	}
}

func testFields(t *testing.T, link link) {
	for _, rpc := range rpcs() {
		in, out := filled(rpc.in()), filled(rpc.out())
		server := fake(func(_ context.Context, name string, got protobuf.Message) (protobuf.Message, error) {
			if name != rpc.name {
				t.Errorf("%s arrived as %s", rpc.name, name)
			}
			if !protobuf.Equal(got, in) {
				t.Errorf("%s arrived as %v, want %v", rpc.name, got, in)
			}
			return out, nil
		})
		got, err := rpc.call(t.Context(), connect(t, link.dialer(t, server)), in)
		if err != nil {
			t.Errorf("%s: %v", rpc.name, err)
		} else if !protobuf.Equal(got, out) {
			t.Errorf("%s was answered with %v, want %v", rpc.name, got, out)
		}
	}
}

func testErrors(t *testing.T, link link) {
	cases := []error{
		errors.New("no such key"),
		drpcerr.WithCode(errors.New("no database"), 14),
		fmt.Errorf("record: %w", drpcerr.WithCode(errors.New("not a UUID"), 3)),
		drpcerr.WithCode(errors.New(""), 7),
	}
	for _, want := range cases {
		server := fake(func(context.Context, string, protobuf.Message) (protobuf.Message, error) { return nil, want })
		_, err := authorize(t.Context(), connect(t, link.dialer(t, server)), "key")
		if err == nil || err.Error() != want.Error() || drpcerr.Code(err) != drpcerr.Code(want) {
			t.Errorf("got %v with code %d, want %v with code %d", err, drpcerr.Code(err), want, drpcerr.Code(want))
		}
	}
}

func testEndedContext(t *testing.T, link link) {
	var calls atomic.Int64
	client := connect(t, link.dialer(t, fake(func(context.Context, string, protobuf.Message) (protobuf.Message, error) {
		calls.Add(1)
		return &proto.IsAuthorizedResponse{}, nil
	})))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := authorize(ctx, client, "key"); !errors.Is(err, context.Canceled) || drpcerr.Code(err) != 0 {
		t.Errorf("got %v with code %d, want context.Canceled without", err, drpcerr.Code(err))
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("the handler was called %d times", n)
	}
}

// waiting returns a server whose handlers wait for their context to end and return its error. A value in arrived tells
// of the first call.
func waiting() (server fake, arrived chan struct{}, ended chan error) {
	arrived, ended = make(chan struct{}), make(chan error, 1)
	arrive := sync.OnceFunc(func() { close(arrived) })
	return func(ctx context.Context, _ string, _ protobuf.Message) (protobuf.Message, error) {
		arrive()
		<-ctx.Done()
		select {
		case ended <- ctx.Err():
		default:
		}
		return nil, drpcerr.WithCode(fmt.Errorf("query: %w", ctx.Err()), 14)
	}, arrived, ended
}

func testCancel(t *testing.T, link link) {
	server, arrived, ended := waiting()
	client := connect(t, link.dialer(t, server))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := authorize(ctx, client, "key"); !errors.Is(err, context.Canceled) || drpcerr.Code(err) != 0 {
		t.Errorf("got %v with code %d, want context.Canceled without", err, drpcerr.Code(err))
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler saw %v, want context.Canceled", err)
	}
}

func testDeadline(t *testing.T, link link) {
	server, arrived, ended := waiting()
	client := connect(t, link.dialer(t, server))
	for limit := 20 * time.Millisecond; ; limit *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err := authorize(ctx, client, "key")
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || drpcerr.Code(err) != 0 {
			t.Errorf("got %v with code %d, want context.DeadlineExceeded without", err, drpcerr.Code(err))
		}
		select {
		case <-arrived:
			<-ended // A network does not carry deadlines, so which error the handler gets depends on the link.
			return
		default: // The machine was so busy that the call did not reach the handler in time.
		}
	}
}

func testForeignContextError(t *testing.T, link link) {
	for _, own := range []error{context.Canceled, context.DeadlineExceeded} {
		client := connect(t, link.dialer(t, fake(func(context.Context, string, protobuf.Message) (protobuf.Message, error) {
			return nil, drpcerr.WithCode(fmt.Errorf("query: %w", own), 14)
		})))
		_, err := authorize(t.Context(), client, "key")
		if err == nil || errors.Is(err, own) || drpcerr.Code(err) != 14 || err.Error() != "query: "+own.Error() {
			t.Errorf("got %v with code %d, want the text of %v alone, and code 14", err, drpcerr.Code(err), own)
		}
	}
}

func testPanic(t *testing.T, link link) {
	client := connect(t, link.dialer(t, fake(func(ctx context.Context, rpc string, in protobuf.Message) (protobuf.Message, error) {
		if in.(*proto.IsAuthorizedRequest).GetKey() == "bad" {
			panic("boom")
		}
		return echo(ctx, rpc, in)
	})))
	for range 3 {
		if _, err := authorize(t.Context(), client, "bad"); drpcerr.Code(err) != 13 {
			t.Errorf("got %v with code %d, want code 13", err, drpcerr.Code(err))
		}
		if name, err := authorize(t.Context(), client, "good"); err != nil || name != "good" {
			t.Errorf("after a panic: got %q, %v", name, err)
		}
	}
}

func testNoAnswer(t *testing.T, link link) {
	client := connect(t, link.dialer(t, fake(func(context.Context, string, protobuf.Message) (protobuf.Message, error) {
		return nil, nil
	})))
	if _, err := authorize(t.Context(), client, "key"); drpcerr.Code(err) != 14 {
		t.Errorf("got %v with code %d, want code 14", err, drpcerr.Code(err))
	}
}

func testUnimplemented(t *testing.T, link link) {
	client := connect(t, link.dialer(t, &lacking{}))
	for _, rpc := range rpcs() {
		if _, err := rpc.call(t.Context(), client, rpc.in()); drpcerr.Code(err) != drpcerr.Unimplemented {
			t.Errorf("%s: got %v with code %d, want unimplemented", rpc.name, err, drpcerr.Code(err))
		}
	}
}

func testOneCancelled(t *testing.T, link link) {
	const calls = 64
	var arrived sync.WaitGroup
	release := make(chan struct{})
	client := connect(t, link.dialer(t, fake(func(ctx context.Context, rpc string, in protobuf.Message) (protobuf.Message, error) {
		arrived.Done()
		if in.(*proto.IsAuthorizedRequest).GetKey() == "0" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		select {
		case <-release:
			return echo(ctx, rpc, in)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})))
	for round := range 3 {
		arrived.Add(calls)
		given, cancel := context.WithCancel(t.Context())
		results := make([]error, calls)
		cancelled := make(chan struct{})
		var running sync.WaitGroup
		for i := range calls {
			running.Go(func() {
				key, ctx := strconv.Itoa(i), t.Context()
				if i == 0 {
					ctx = given
					defer close(cancelled)
				}
				name, err := authorize(ctx, client, key)
				if err == nil && name != key {
					err = fmt.Errorf("got the answer of %q", name)
				}
				results[i] = err
			})
		}
		arrived.Wait()
		cancel()
		<-cancelled
		for range calls - 1 {
			release <- struct{}{}
		}
		running.Wait()
		if !errors.Is(results[0], context.Canceled) {
			t.Errorf("round %d: the cancelled call got %v", round, results[0])
		}
		for i, err := range results[1:] {
			if err != nil {
				t.Errorf("round %d: call %d failed with another: %v", round, i+1, err)
			}
		}
	}
}

func testCrossing(t *testing.T, link link) {
	client := connect(t, link.dialer(t, fake(echo)))
	var running sync.WaitGroup
	for i := range 32 {
		running.Go(func() {
			for j := range 25 {
				key := fmt.Sprintf("%d/%d", i, j)
				if name, err := authorize(t.Context(), client, key); err != nil || name != key {
					t.Errorf("%s was answered with %q, %v", key, name, err)
				}
			}
		})
	}
	running.Wait()
}

// testLarge sends messages around the limit of 3.5 MiB, if the link has one, and above DRPC's own limit of 4 MiB.
func testLarge(t *testing.T, link link) {
	const limit = 3_670_016
	var calls atomic.Int64
	client := connect(t, link.dialer(t, fake(func(_ context.Context, _ string, in protobuf.Message) (protobuf.Message, error) {
		calls.Add(1)
		request := in.(*proto.IsAuthorizedRequest)
		size, err := strconv.Atoi(request.GetKeyId())
		if err != nil {
			return &proto.IsAuthorizedResponse{Username: strconv.Itoa(protobuf.Size(in))}, nil
		}
		return sized(&proto.IsAuthorizedResponse{}, size), nil
	})))
	for _, size := range []int{limit, limit + 1, 4 << 20, 5 << 20} {
		wantRefused := link.limited && size > limit

		before := calls.Load()
		out, err := client.IsAuthorized(t.Context(), sized(&proto.IsAuthorizedRequest{}, size))
		checkSize(t, "a request", size, wantRefused, err)
		if err == nil && out.GetUsername() != strconv.Itoa(size) {
			t.Errorf("a request of %d bytes arrived with %s", size, out.GetUsername())
		}
		if arrived := calls.Load() != before; arrived == wantRefused {
			t.Errorf("a request of %d bytes reached the handler: %v", size, arrived)
		}

		out, err = client.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{KeyId: strconv.Itoa(size)})
		checkSize(t, "an answer", size, wantRefused, err)
		if err == nil && protobuf.Size(out) != size {
			t.Errorf("an answer of %d bytes arrived with %d", size, protobuf.Size(out))
		}
	}
}

func checkSize(t *testing.T, what string, size int, wantRefused bool, err error) {
	t.Helper()
	if refused := drpcerr.Code(err) == 8; refused != wantRefused || (err != nil) != wantRefused {
		t.Errorf("%s of %d bytes: %v with code %d, want it refused: %v", what, size, err, drpcerr.Code(err), wantRefused)
	}
	if wantRefused && err != nil && (!strings.Contains(err.Error(), "3670016") || !strings.Contains(err.Error(), "IsAuthorized")) {
		t.Errorf("the error for %s names neither limit nor call: %v", what, err)
	}
}

// sized returns msg, and makes its first field, a text, so long that the message has that size.
func sized[M protobuf.Message](msg M, size int) M {
	text := msg.ProtoReflect().Descriptor().Fields().ByNumber(1)
	const overhead = 1 + 4 // Tag, and a length of four bytes.
	msg.ProtoReflect().Set(text, protoreflect.ValueOfString(strings.Repeat("x", size-overhead)))
	return msg
}
