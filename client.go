package aibridged

import (
	"context"

	"storj.io/drpc"

	"github.com/coder/aibridged/proto"
)

// Dialer connects to a control plane. The [Server] calls it again whenever the connection that it returned is closed;
// the client's connection is the caller's to close.
type Dialer func(ctx context.Context) (DRPCClient, error)

// ClientFunc returns a client of the control plane, or an error where there is none to be had.
type ClientFunc func() (DRPCClient, error)

// DRPCClient is what a gateway asks of its control plane. Its DRPCConn is nil where the control plane is a value in the
// same process; such a client is never closed.
type DRPCClient interface {
	proto.DRPCRecorderClient
	proto.DRPCMCPConfiguratorClient
	proto.DRPCAuthorizerClient
}

// DRPCServer is what a control plane answers.
type DRPCServer interface {
	proto.DRPCRecorderServer
	proto.DRPCMCPConfiguratorServer
	proto.DRPCAuthorizerServer
}

// Client is a [DRPCClient] made of its three parts and the connection that they share.
type Client struct {
	proto.DRPCRecorderClient
	proto.DRPCMCPConfiguratorClient
	proto.DRPCAuthorizerClient

	Conn drpc.Conn
}

var _ DRPCClient = (*Client)(nil)

// DRPCConn returns the connection, nil where there is none.
func (c *Client) DRPCConn() drpc.Conn { return c.Conn }
