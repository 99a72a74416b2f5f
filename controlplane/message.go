package controlplane

import (
	"bytes"
	"fmt"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/internal/rpcstatus"
)

// maxMessageSize is what may be sent in one message: DRPC closes a connection on which 4 MiB arrive, so a message is
// refused well before.
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
	*msg.(*message) = bytes.Clone(buf) // The buffer is the connection's.
	return nil
}
