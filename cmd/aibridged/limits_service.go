package main

import (
	"context"
	"errors"
	"fmt"

	"cdr.dev/slog/v3"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/internal/admission"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

// limitsService lets the requests of all gateways in, within the limits of the control plane. It implements
// [proto.DRPCAdmissionServer].
type limitsService struct {
	ledger *admission.Ledger // Nil: there are no limits.
}

func newLimitsService(limits admissionConfig, logger slog.Logger) *limitsService {
	return &limitsService{ledger: admission.NewLedger(admission.Limits(limits), func(user string) admission.Tell {
		return func(limit admission.Limit, refused int) {
			logger.Warn(context.Background(), "requests of a user are refused: they are beyond a limit of all gateways",
				slog.F("initiator_id", user), slog.F("limit", string(limit)), slog.F("refused", refused))
		}
	})}
}

// longestGatewayID is how many bytes the id of a gateway may have.
const longestGatewayID = 64

// Enter implements [proto.DRPCAdmissionServer].
func (l *limitsService) Enter(ctx context.Context, in *proto.EnterRequest) (*proto.EnterResponse, error) {
	if l.ledger == nil {
		return &proto.EnterResponse{Unlimited: true}, nil
	}
	gateway := in.GetGatewayId()
	if gateway == "" || len(gateway) > longestGatewayID {
		return nil, drpcerr.WithCode(fmt.Errorf("a gateway's id has 1 to %d bytes", longestGatewayID), rpcstatus.InvalidArgument)
	}
	answer := &proto.EnterResponse{LeaseMillis: admission.LeaseFor.Milliseconds()}
	if in.GetUserId() == "" {
		l.ledger.Hear(gateway, in.GetEnded()...)
		return answer, nil
	}
	err := l.ledger.Enter(ctx, gateway, in.GetUserId(), in.GetLease(), in.GetEnded()...)
	if refusal, ok := errors.AsType[*admission.Refusal](err); ok {
		answer.Limit, answer.WaitMillis = string(refusal.Limit), refusal.For.Milliseconds()
		return answer, nil
	}
	return answer, err
}
