package controlplane

import (
	"bytes"
	"fmt"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/internal/rpcstatus"
)

// maxMessageSize is the largest message that is sent, in bytes. DRPC closes a connection on which a message of 4 MiB
// arrives, so the limit is well below that.
const maxMessageSize = 3<<20 + 1<<19 // 3.5 MiB

// message is a message that is marshalled already.
type message []byte

// marshal returns msg marshalled by enc. The direction is "request" or "answer".
func marshal(rpc, direction string, enc drpc.Encoding, msg drpc.Message) (message, error) {
	data, err := enc.Marshal(msg)
	if err != nil {
		return nil, drpcerr.WithCode(fmt.Errorf("marshal %s of %s: %w", direction, rpc, err), rpcstatus.InvalidArgument)
	}
	if len(data) > maxMessageSize {
		return nil, drpcerr.WithCode(
			fmt.Errorf("%s of %s has %d bytes, over the limit of %d", direction, rpc, len(data), maxMessageSize),
			rpcstatus.ResourceExhausted)
	}
	return data, nil
}

// asIs is the encoding of a [*message].
type asIs struct{}

func (asIs) Marshal(msg drpc.Message) ([]byte, error) { return *msg.(*message), nil }

func (asIs) Unmarshal(buf []byte, msg drpc.Message) error {
	*msg.(*message) = bytes.Clone(buf) // The connection uses the buffer again.
	return nil
}
