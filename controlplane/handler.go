package controlplane

import (
	"errors"
	"fmt"

	"cdr.dev/slog/v3"
	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
	"storj.io/drpc/drpcmux"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/internal/contain"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

// handler passes calls to a server's methods. A panic of a method makes only its own call fail.
type handler struct {
	mux    *drpcmux.Mux
	logger slog.Logger
}

func newHandler(server aibridged.DRPCServer, logger slog.Logger) (*handler, error) {
	mux := drpcmux.New()
	errs := []error{
		proto.DRPCRegisterRecorder(mux, server),
		proto.DRPCRegisterMCPConfigurator(mux, server),
		proto.DRPCRegisterAuthorizer(mux, server),
	}
	if more, ok := server.(proto.DRPCConfigurationServer); ok { // Not every host has these services.
		errs = append(errs, proto.DRPCRegisterConfiguration(mux, more))
	}
	if more, ok := server.(proto.DRPCAdmissionServer); ok {
		errs = append(errs, proto.DRPCRegisterAdmission(mux, more))
	}
	if more, ok := server.(proto.DRPCBudgetsServer); ok {
		errs = append(errs, proto.DRPCRegisterBudgets(mux, more))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register the control plane's calls: %w", err)
	}
	return &handler{mux: mux, logger: logger}, nil
}

// HandleRPC answers one call. DRPC sends the error that it returns to the client.
func (h *handler) HandleRPC(stream drpc.Stream, rpc string) (err error) {
	defer func() {
		if value := recover(); value != nil {
			panicked := contain.Recovered(value)
			h.logger.Error(stream.Context(), "control plane panicked",
				slog.F("rpc", rpc), slog.Error(panicked), slog.F("stack", string(panicked.Stack)))
			// Only the log gets the value: the client may belong to somebody else.
			err = drpcerr.WithCode(fmt.Errorf("%s: the control plane panicked", rpc), rpcstatus.Internal)
		}
	}()
	return h.mux.HandleRPC(bounded{stream, rpc}, rpc)
}

// bounded is a stream that refuses to send a message that is too large for the other end.
type bounded struct {
	drpc.Stream
	rpc string
}

func (b bounded) MsgSend(msg drpc.Message, enc drpc.Encoding) error {
	data, err := marshal(b.rpc, "answer", enc, msg)
	if err != nil {
		return err
	}
	return b.Stream.MsgSend(&data, asIs{})
}
