package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"net"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/proto"
)

// alice is a control plane that knows one key.
type alice struct{ lacking }

func (*alice) IsAuthorized(_ context.Context, in *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
	if in.GetKey() != "alice's" {
		return nil, errors.New("no such key")
	}
	return &proto.IsAuthorizedResponse{Username: "alice"}, nil
}

func ExampleInProcess() {
	ctx := context.Background()
	client, err := controlplane.InProcess(&alice{})(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := client.IsAuthorized(ctx, &proto.IsAuthorizedRequest{Key: "alice's"})
	fmt.Println(answer.GetUsername(), err)
	_, err = client.IsAuthorized(ctx, &proto.IsAuthorizedRequest{Key: "somebody's"})
	fmt.Println(err)
	_, err = client.RecordBatch(ctx, &proto.RecordBatchRequest{})
	fmt.Println(drpcerr.Code(err) == drpcerr.Unimplemented)
	// Output:
	// alice <nil>
	// no such key
	// true
}

func ExampleNetwork() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- controlplane.Serve(ctx, listener, &alice{}, controlplane.ServeOptions{}) }()

	dialer := controlplane.Network(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", listener.Addr().String())
	}, controlplane.NetworkOptions{})
	client, err := dialer(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := client.IsAuthorized(ctx, &proto.IsAuthorizedRequest{Key: "alice's"})
	fmt.Println(answer.GetUsername(), err)

	stop()
	fmt.Println(<-served)
	_, err = client.IsAuthorized(context.Background(), &proto.IsAuthorizedRequest{Key: "alice's"})
	fmt.Println(drpcerr.Code(err) == 14)
	fmt.Println(client.DRPCConn().Close())
	// Output:
	// alice <nil>
	// <nil>
	// true
	// <nil>
}
