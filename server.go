package aibridged

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"golang.org/x/xerrors"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/ingress"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/internal/strangers"
	"github.com/coder/aibridged/proto"
)

const (
	// authorizeTimeout bounds one question to the control plane.
	authorizeTimeout = 10 * time.Second
	// firstConnection is how long a request waits for the control plane if there has never been a connection. After
	// that, requests wait as long as their clients do, since a lost connection is made again.
	firstConnection = 900 * time.Millisecond
	// lossNoticed is how long after a failed call the loss of its connection may still be noticed.
	lossNoticed = time.Second
	// retryConnect is how long a client is told to wait when there is no control plane.
	retryConnect = time.Second
	// retryStranger is how long a client is told to wait whose token is not known, when too many such tokens are tried.
	retryStranger = time.Second
	// refusedBody is how long the body of a refused request may take to arrive.
	refusedBody = 30 * time.Second
)

// textUndecided is what a client reads when the control plane answered, but could not decide about its key.
const textUndecided = "the key could not be checked"

// ServeHTTP serves /api/v2/aibridged/<provider>/…, with that prefix or without it: a host that mounts the server under
// another root strips that root. No header says where the server is mounted. ServeHTTP finds out who is asking, and hands
// the request, without the gateway's own credentials, to that user's bridge.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ingress.EndConnection(w, r)
	ctx, end, done, ok := s.enter(r.Context())
	if !ok {
		w.Header().Set("Connection", "close")
		s.refuse(w, r, &apierror.Error{
			Status: http.StatusServiceUnavailable, Text: "the gateway is shutting down, try again", RetryAfter: retryConnect, Cause: errClosed,
		})
		return
	}
	defer done()

	one := &runningRequest{end: end}
	ctx = context.WithValue(ingress.ContinueTrace(ctx, r.Header), runningKey{}, one)
	handler, r, err := s.admit(r.WithContext(ctx))
	if err != nil {
		s.refuse(w, r, apierror.From(err))
		return
	}
	defer s.running.add(one, r)()
	handler.ServeHTTP(w, r)
}

// enter counts a request as in flight until done is called. The context that it returns ends also when the server stops
// waiting for the requests in flight, and by end.
func (s *Server) enter(ctx context.Context) (_ context.Context, end context.CancelCauseFunc, done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, nil, nil, false
	}
	s.inFlight.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.serving, func() { cancel(context.Cause(s.serving)) })
	return ctx, cancel, func() {
		stop()
		cancel(nil)
		s.inFlight.Done()
	}, true
}

// admit authorises a request and returns the handler of its user's bridge, and the request as that handler gets it: with
// its [aibridge.Caller], below the gateway's root, and without the gateway's own credentials. The request it returns is
// never nil; the one that it is given stays as it is.
func (s *Server) admit(r *http.Request) (http.Handler, *http.Request, error) {
	if err := ingress.JudgeHost(r); err != nil {
		return nil, r, &apierror.Error{Status: http.StatusBadRequest, Text: err.Error()}
	}
	presented, keyID, err := presentedBy(r)
	if err != nil {
		return nil, r, err
	}
	waiting, cancel := s.waiting(r.Context())
	defer cancel()
	owner, err := s.authorizeCaller(waiting, presented.Token, keyID)
	if err != nil {
		return nil, r, err
	}
	handler, err := s.requestHandler(r.Context(), waiting, Request{
		SessionKey: presented.Token, APIKeyID: owner.APIKeyID, InitiatorID: owner.ID,
	}, s.lend)
	if err != nil {
		return nil, r, err
	}
	caller := aibridge.Caller{
		Actor:      aibridge.Actor{ID: owner.ID.String(), Metadata: aibridge.Metadata{"Username": owner.Username}},
		Credential: aibridge.CredentialCentralized,
		Token:      presented.Token,
		FindToken:  s.findToken,
	}
	if presented.BYOK {
		caller.Credential = aibridge.CredentialBYOK
	}
	tokens := credential.TokensOf(presented.Token, s.findToken)
	target := *r.URL
	target.Path, target.RawPath = withoutRoot(r.URL.Path), withoutRoot(r.URL.RawPath)
	target.RawQuery = credential.Query(target.RawQuery, tokens)
	r = r.WithContext(aibridge.WithCaller(r.Context(), caller))
	r.URL, r.Header = &target, credential.WithoutToken(r.Header, presented, tokens)
	return handler, r, nil
}

// presentedBy reads the credentials of a request, and the API key id that a caller in this process vouches for. If
// there is such an id, the token in the request is not read.
func presentedBy(r *http.Request) (presented credential.Presented, keyID string, err error) {
	keyID, delegated := aibridge.DelegatedAPIKeyIDFromContext(r.Context())
	if delegated {
		presented, err = credential.Delegated(r.Header)
	} else {
		presented, err = credential.Present(r.Header)
	}
	switch {
	case errors.Is(err, credential.ErrNone):
		return presented, "", &apierror.Error{Status: http.StatusBadRequest, Text: ErrNoAuthKey.Error(), Cause: ErrNoAuthKey}
	case errors.Is(err, credential.ErrMalformed):
		return presented, "", unauthorized(ErrUnauthorized)
	case err != nil:
		return presented, "", &apierror.Error{Status: http.StatusBadRequest, Text: err.Error()}
	}
	return presented, keyID, nil
}

// GetRequestHandler returns the handler of a user's bridge, for a request that its caller has authorised. The handler is
// for one request and is held for it until ctx ends. It fails with [ErrAcquireRequestHandler].
func (s *Server) GetRequestHandler(ctx context.Context, req Request) (http.Handler, error) {
	waiting, cancel := s.waiting(ctx)
	defer cancel()
	return s.requestHandler(ctx, waiting, req, s.pool.Acquire)
}

// waiting returns the context under which a request waits for the control plane: one for all of its waits, so that they do not
// add up to more than [ServerOptions].ConnectWait. It ends with ctx at the latest.
func (s *Server) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.connectWait <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.connectWait)
}

// requestHandler returns the handler that acquire returns, which is held under ctx. If the connection to the control plane is
// lost meanwhile, it waits for the next one, until waiting ends, and tries once more.
func (s *Server) requestHandler(ctx, waiting context.Context, req Request, acquire acquireFunc) (http.Handler, error) {
	handler, err := acquire(ctx, req, s.clientNow, s.tools)
	if err != nil && isAway(err) {
		// The connection was lost while the bridge was built: build it with the next one.
		if _, waitErr := s.clientFor(waiting); waitErr == nil {
			handler, err = acquire(ctx, req, s.clientNow, s.tools)
		}
	}
	if err == nil {
		return handler, nil
	}
	refusal := &apierror.Error{
		Status: http.StatusInternalServerError, Text: ErrAcquireRequestHandler.Error(), Cause: wrapped{ErrAcquireRequestHandler, err},
	}
	if isAway(err) {
		refusal.Status, refusal.RetryAfter = http.StatusServiceUnavailable, retryConnect
	}
	return nil, refusal
}

// isAway reports whether a call failed because the control plane is away, and not because of its answer.
func isAway(err error) bool {
	return errors.Is(err, ErrConnect) || rpcstatus.IsUnavailable(err) && drpcerr.Code(err) != rpcstatus.Internal
}

// owner is who a key belongs to.
type owner struct {
	ID       uuid.UUID
	APIKeyID string
	Username string
}

// authorizeCaller finds out who a token belongs to, or, for a caller in this process, the key with an id.
func (s *Server) authorizeCaller(ctx context.Context, token, keyID string) (found owner, err error) {
	request := &proto.IsAuthorizedRequest{Key: token, KeyId: keyID}
	if keyID != "" {
		return s.authorize(ctx, request, strangers.Freely)
	}
	err = s.strangers.Ask(ctx, token, func(enter strangers.Enter) error {
		found, err = s.authorize(ctx, request, enter)
		return err
	})
	if errors.Is(err, strangers.ErrRefused) {
		return owner{}, unauthorized(err)
	}
	if _, isOurs := errors.AsType[*apierror.Error](err); err != nil && !isOurs { // It did not get as far as authorize.
		return owner{}, unavailable(err)
	}
	return found, err
}

// isUnauthorized reports whether an error of authorize means that the control plane refused the token.
func isUnauthorized(err error) bool { return errors.Is(err, ErrUnauthorized) }

// authorize asks the control plane who a request's token belongs to, as soon as enter lets it.
func (s *Server) authorize(ctx context.Context, request *proto.IsAuthorizedRequest, enter strangers.Enter) (owner, error) {
	client, err := s.clientFor(ctx)
	if err != nil {
		return owner{}, unavailable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, authorizeTimeout)
	defer cancel()
	leave, err := enter(ctx)
	switch {
	case errors.Is(err, strangers.ErrTooMany):
		return owner{}, &apierror.Error{
			Status: http.StatusServiceUnavailable, Text: "too many requests have tokens that are not valid, try again", RetryAfter: retryStranger, Cause: err,
		}
	case err != nil:
		return owner{}, unavailable(err)
	}
	defer leave()
	response, err := s.isAuthorized(ctx, client, request)
	if err != nil {
		if ctx.Err() != nil {
			return owner{}, unavailable(err)
		}
		return owner{}, unauthorizedBy(err)
	}
	id, err := uuid.Parse(response.GetOwnerId())
	if err != nil {
		return owner{}, unauthorized(xerrors.Errorf("parse owner id: %w", err))
	}
	return owner{ID: id, APIKeyID: response.GetApiKeyId(), Username: response.GetUsername()}, nil
}

// isAuthorized asks a client. If the client's connection is lost meanwhile, it asks the next client: to ask twice does
// no harm.
func (s *Server) isAuthorized(ctx context.Context, client DRPCClient, request *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
	for {
		response, err := client.IsAuthorized(ctx, request)
		if err == nil || !isAway(err) || !isLost(ctx, client) {
			return response, err
		}
		next, waitErr := s.clientFor(ctx)
		if waitErr != nil {
			return nil, err
		}
		client = next
	}
}

// isLost reports whether a client whose call failed has lost its connection. It waits up to lossNoticed, since the call
// may fail before the loss is noticed.
func isLost(ctx context.Context, client DRPCClient) bool {
	conn := client.DRPCConn()
	if conn == nil {
		return false
	}
	timer := time.NewTimer(lossNoticed)
	defer timer.Stop()
	select {
	case <-conn.Closed():
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// clientFor waits for a client until ctx ends, which is that of [Server.waiting], and only for firstConnection if there has
// never been one.
func (s *Server) clientFor(ctx context.Context) (DRPCClient, error) {
	s.mu.Lock()
	met := s.met
	s.mu.Unlock()
	if !met {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, firstConnection)
		defer cancel()
	}
	return s.clientWithin(ctx)
}

// unauthorizedBy returns the refusal of a request that the control plane did not authorise. An outage is 503. An answer
// that a key is not valid is 403: it has no code, or one that says so. Any other code is the control plane's own fault,
// 500. If a refusal is taken for an outage, the client waits for nothing; if an outage or a fault is taken for a
// refusal, the client throws its key away.
func unauthorizedBy(err error) error {
	if rpcstatus.IsUnavailable(err) {
		return unavailable(err)
	}
	switch drpcerr.Code(err) {
	case 0, rpcstatus.PermissionDenied, rpcstatus.Unauthenticated, rpcstatus.AuthenticationFailed, rpcstatus.PolicyDenied:
		return unauthorized(err)
	}
	return &apierror.Error{Status: http.StatusInternalServerError, Text: textUndecided, Cause: err}
}

func unavailable(cause error) error {
	return &apierror.Error{
		Status: http.StatusServiceUnavailable, Text: ErrConnect.Error(), RetryAfter: retryConnect, Cause: wrapped{ErrConnect, cause},
	}
}

func unauthorized(cause error) error {
	return &apierror.Error{Status: http.StatusForbidden, Text: ErrUnauthorized.Error(), Cause: wrapped{ErrUnauthorized, cause}}
}

// wrapped is a cause that errors.Is takes for a documented error, too.
type wrapped struct{ documented, cause error }

func (w wrapped) Error() string   { return w.cause.Error() }
func (w wrapped) Unwrap() []error { return []error{w.documented, w.cause} }

// refuse answers a request with an error of ours and logs it once.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err *apierror.Error) {
	tokens := credential.TokensOf(credential.Token(r.Header), s.findToken)
	fields := []slog.Field{
		slog.F("method", credential.Method(r.Method)), slog.F("status", err.Status), slog.F("remote", r.RemoteAddr), slog.Error(tokens.Error(err)),
	}
	if r.Method == http.MethodHead && errors.Is(err, ErrNoAuthKey) {
		s.logger.Info(r.Context(), "request refused: a HEAD without a token, which clients send as a probe", fields...)
	} else {
		s.logger.Warn(r.Context(), "request refused", fields...)
	}
	// net/http waits for the rest of an unread body before it answers; the deadline bounds that wait.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusedBody))
	apierror.ForPath(r.URL.Path).Write(w, r, err)
}

// withoutRoot takes the prefix of the gateway's mount point off a path, if the path has it.
func withoutRoot(path string) string {
	if rest, ok := strings.CutPrefix(path, aibridge.RootPath); ok && (rest == "" || rest[0] == '/') {
		return rest
	}
	return path
}
