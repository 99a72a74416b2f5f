package aibridged

import (
	"context"

	"storj.io/drpc"

	"github.com/coder/aibridged/proto"
)

// Dialer connects to a control plane. The [Server] calls it again whenever the connection that it returned is closed.
// The caller of the Dialer closes the client's connection.
type Dialer func(ctx context.Context) (DRPCClient, error)

// ClientFunc returns a client of the control plane, or an error where it has none.
type ClientFunc func() (DRPCClient, error)

// DRPCClient holds the calls that a gateway makes to its control plane. DRPCConn returns nil where the control plane is
// a value in the same process; such a client is never closed.
type DRPCClient interface {
	proto.DRPCRecorderClient
	proto.DRPCMCPConfiguratorClient
	proto.DRPCAuthorizerClient
}

// DRPCServer holds the calls that a control plane answers.
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
