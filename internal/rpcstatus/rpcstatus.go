// Package rpcstatus interprets the errors of RPCs: their drpc codes, which are those of gRPC, and whether the server
// answered at all.
package rpcstatus

import (
	"context"
	"errors"
	"io"
	"net"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
)

// The codes that a gateway and its control plane use.
const (
	InvalidArgument    = 3
	DeadlineExceeded   = 4
	NotFound           = 5
	AlreadyExists      = 6
	PermissionDenied   = 7
	ResourceExhausted  = 8
	FailedPrecondition = 9
	OutOfRange         = 11
	Unimplemented      = drpcerr.Unimplemented
	Internal           = 13
	Unavailable        = 14
	Unauthenticated    = 16
)

// The codes with which hosts refuse to authorise. They are no codes of gRPC.
const (
	AuthenticationFailed = 1001
	PolicyDenied         = 1002
	EvaluationFailed     = 1003
	Malformed            = 1004
)

// IsUnavailable reports whether an RPC failed without an answer, so that another try may succeed. A server that is
// unavailable, out of time, failed internally or does not know the call has not decided about the request. Any other
// code is an answer, whatever the error wraps: in the same process, that may be an error of the server's own network.
func IsUnavailable(err error) bool {
	switch drpcerr.Code(err) {
	case Unavailable, DeadlineExceeded, Internal, Unimplemented:
		return true
	case 0:
	default:
		return false
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return drpc.ClosedError.Has(err) || drpc.ProtocolError.Has(err) || drpc.InternalError.Has(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
