package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"cdr.dev/slog/v3"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/controlplane/join"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/proto"
)

const (
	// remoteSilence is how long a connection to a control plane may be silent. A change is right on a gateway within ten
	// seconds even if its connection is cut in silence: that is noticed first, and then another connection is made.
	remoteSilence = 7 * time.Second
	// remotePatience bounds the dialing of an address.
	remotePatience = 5 * time.Second
	// remotePause is the longest pause between two attempts to connect. An attempt may take remotePatience, and the next one has to
	// come in time for all to be right within ten seconds.
	remotePause = time.Second
	// remoteWait is how long a request waits for a control plane that is away.
	remoteWait = 5 * time.Second
	// feedWait is how long the control plane has no news of providers before it says so. It is below the limit of a call.
	feedWait = 5 * time.Second
	// feedPause is the pause after an answer that was of no use.
	feedPause = 500 * time.Millisecond
	// lackingPause is the time after which a control plane that cannot tell of providers is asked again.
	lackingPause = time.Minute
)

// joinTokenVariable has the join token where no flag and no configuration names it.
const joinTokenVariable = "AIBRIDGED_JOIN_TOKEN"

// remote is a control plane elsewhere, reached over TLS. It implements [controlPlane].
type remote struct {
	options controlConfig
	network aibridged.Dialer
	file    string // The configuration file. Empty: there is none.
	limits  *sharedLimits
	budgets *sharedBudgets
	logger  slog.Logger

	clients chan aibridged.DRPCClient // Holds the latest client that was not followed yet.

	mu       sync.Mutex
	given    []givenProvider  // What the gateway is to serve; guarded by mu, like the fields below.
	ofFile   []providerConfig // The providers of the configuration.
	usesFile bool             // The control plane cannot tell of providers.
	warned   bool             // The log says that the configuration's providers are not used.
	serving  *servedProviders // Nil: provide was not called yet.
	problem  string           // Why there is no connection, for everybody's eyes. Empty: there is one, or it is only being made.
	unready  string           // Why the control plane itself is not ready, as it said last. Empty: it is.
}

// newRemote returns a control plane that is not connected yet. It fails if what it needs to connect is not there.
func newRemote(options controlConfig, c config, file string, logger slog.Logger) (*remote, error) {
	r := &remote{
		options: options, file: file, logger: logger, clients: make(chan aibridged.DRPCClient, 1), ofFile: c.Providers,
		problem: "the control plane has not answered yet",
	}
	if !isAddress(options.Address) {
		return nil, fmt.Errorf("--control %q: write the host and the port of the control plane", options.Address)
	}
	if _, _, err := r.proof(); err != nil {
		return nil, err
	}
	r.limits = newSharedLimits(logger)
	r.budgets = newSharedBudgets(logger)
	r.network = controlplane.Network(r.dial, controlplane.NetworkOptions{Silence: remoteSilence})
	return r, nil
}

// isAddress reports whether a text is a host with a port that a connection can be made to.
func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return false
	}
	number, err := net.LookupPort("tcp", port)
	return err == nil && number > 0
}

// proof reads who the gateway is, and whom it trusts: anew for each connection, since files change.
func (r *remote) proof() (join.Trust, join.Token, error) {
	var token join.Token
	host, _, err := net.SplitHostPort(r.options.Address)
	trust := join.Trust{Host: host}
	if err != nil {
		return trust, token, err
	}
	if file := r.options.CA; file != "" {
		if trust.Roots, err = readAuthorities(file); err != nil {
			return trust, token, &unproven{"the control plane's authority", fmt.Errorf("the control plane's authority: %w", err)}
		}
	}
	if own := r.options.TLS; own != nil {
		pair, err := tls.LoadX509KeyPair(own.Cert, own.Key)
		if err != nil {
			return trust, token, &unproven{"the gateway's certificate", fmt.Errorf("the gateway's certificate: %w", err)}
		}
		trust.Own = []tls.Certificate{pair}
		return trust, token, nil
	}
	text := os.Getenv(joinTokenVariable)
	if reference := r.options.JoinToken; reference != "" {
		if text, err = secretOf(reference, "join token"); err != nil {
			return trust, token, &unproven{"the join token", fmt.Errorf("join token: %w", err)}
		}
	}
	if text == "" {
		return trust, token, errors.New("a gateway needs a join token, which `aibridged control join-token` prints: name it with --join-token or set " +
			joinTokenVariable + "; or a certificate, with --control-cert and --control-key")
	}
	if token, err = join.ParseToken(text); err != nil {
		return trust, token, &unproven{"the join token", err}
	}
	return trust, token, nil
}

// unproven is why a gateway does not even dial: who it is, or whom it trusts, cannot be read.
type unproven struct {
	what  string // For everybody's eyes.
	cause error
}

func (u *unproven) Error() string { return u.cause.Error() }
func (u *unproven) Unwrap() error { return u.cause }

// readAuthorities reads a file of certificates in PEM.
func readAuthorities(file string) (*x509.CertPool, error) {
	text, err := readCertificateFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// dial connects, and proves who the gateway is.
func (r *remote) dial(ctx context.Context) (net.Conn, error) {
	trust, token, err := r.proof()
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: remotePatience}).DialContext(ctx, "tcp", r.options.Address)
	if err != nil {
		return nil, err
	}
	return join.Enter(ctx, conn, trust.Config(token), token)
}

// dialer implements [controlPlane].
func (r *remote) dialer() aibridged.Dialer {
	return func(ctx context.Context) (aibridged.DRPCClient, error) {
		client, err := r.network(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.problem = problemOf(err)
		if err != nil {
			return nil, err
		}
		select {
		case <-r.clients: // Nobody has followed it, and its connection has ended.
		default:
		}
		r.limits.connected(client)
		r.budgets.connected(client)
		r.clients <- client // There is room: only a dialer sends, under mu.
		return client, nil
	}
}

// problemOf returns what everybody may know of a connection that failed.
func problemOf(err error) string {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	lacking, undialled := errors.AsType[*unproven](err)
	switch {
	case err == nil:
		return ""
	case undialled:
		return lacking.what + " cannot be read, the log says why"
	case errors.Is(err, join.ErrRefused):
		return "the control plane refuses this gateway, the log says why"
	case untrusted, errors.Is(err, join.ErrUntrusted):
		return "the control plane's certificate is not trusted, the log says why"
	}
	return "the control plane cannot be reached"
}

// provide implements [controlPlane].
func (r *remote) provide(ctx context.Context, to *servedProviders, _ slog.Logger) (stop func(), err error) {
	r.mu.Lock()
	r.serving = to
	r.mu.Unlock()
	to.read = func(context.Context) ([]givenProvider, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.given, nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var following sync.WaitGroup
	following.Go(func() { r.follow(ctx) })
	return func() {
		cancel()
		following.Wait()
	}, nil
}

// follow asks for providers on each connection, one after another, until ctx ends.
func (r *remote) follow(ctx context.Context) {
	version := ""
	for {
		select {
		case client := <-r.clients:
			version = r.followOn(ctx, client, version)
		case <-ctx.Done():
			return
		}
	}
}

// followOn asks for providers on a connection until it ends, or ctx does. It returns the version that the gateway has then.
func (r *remote) followOn(ctx context.Context, client aibridged.DRPCClient, version string) string {
	conn := client.DRPCConn()
	feed, failing := proto.NewDRPCConfigurationClient(conn), false
	for {
		began := time.Now()
		answer, err := feed.GetProviders(ctx, &proto.GetProvidersRequest{Version: version, WaitMillis: r.wait().Milliseconds()})
		r.note(err)
		pause := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return version
		case drpcerr.Code(err) == rpcstatus.Unimplemented:
			version, pause = "", lackingPause
			r.takeFile(ctx)
		case err != nil:
			pause = feedPause
		case answer.GetVersion() != version:
			version = answer.GetVersion()
			r.take(ctx, answer)
		case time.Since(began) < feedPause: // It did not wait.
			pause = feedPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			if pause == feedPause && err != nil && !failing {
				r.logger.Warn(ctx, "the control plane does not tell of providers, the gateway asks again", slog.Error(err))
			}
			failing = err != nil
		case <-conn.Closed():
			timer.Stop()
			return version
		case <-ctx.Done():
			timer.Stop()
			return version
		}
	}
}

// wait returns how long the control plane may have no news. One that was not ready has some as soon as it is.
func (r *remote) wait() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unready != "" {
		return 0
	}
	return feedWait
}

// note remembers what the answer to a question for providers says of the control plane itself. The gateway keeps those that
// it has.
func (r *remote) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch code := drpcerr.Code(err); {
	case code == rpcstatus.FailedPrecondition:
		r.unready = err.Error()
	case err == nil, code == rpcstatus.Unimplemented:
		r.unready = ""
	}
}

// take serves the providers of an answer.
func (r *remote) take(ctx context.Context, answer *proto.GetProvidersResponse) {
	given := make([]givenProvider, len(answer.GetProviders()))
	for i, message := range answer.GetProviders() {
		given[i] = givenBy(message)
	}
	r.mu.Lock()
	unused := len(r.ofFile) > 0 && r.file != "" && !r.warned
	r.warned = r.warned || unused
	r.mu.Unlock()
	if unused {
		r.logger.Warn(ctx, "the providers of the configuration file are not used: the control plane has them")
	}
	r.serve(ctx, given, false)
}

// takeFile serves the providers of the configuration.
func (r *remote) takeFile(ctx context.Context) {
	r.mu.Lock()
	already, configured := r.usesFile, r.ofFile
	r.mu.Unlock()
	if already {
		return
	}
	r.logger.Warn(ctx, "the control plane cannot tell of providers: those of the configuration are served", slog.F("from", configuredIn(r.file)))
	r.serve(ctx, r.givenByFile(configured), true)
}

func (r *remote) givenByFile(configured []providerConfig) []givenProvider {
	given := make([]givenProvider, len(configured))
	for i, p := range configured {
		given[i] = givenProvider{name: p.Name, kind: p.Type, from: configuredIn(r.file), config: p}
	}
	return given
}

// serve makes the gateway serve these providers.
func (r *remote) serve(ctx context.Context, given []givenProvider, usesFile bool) {
	r.mu.Lock()
	r.given, r.usesFile = given, usesFile
	serving := r.serving
	r.mu.Unlock()
	if err := serving.Reload(ctx); err != nil {
		r.logger.Error(ctx, "the providers cannot be served", slog.Error(err))
	}
}

// reseed implements [controlPlane]: the providers of a file count only if the control plane cannot tell of any.
func (r *remote) reseed(ctx context.Context, c config, _ slog.Logger) error {
	r.mu.Lock()
	r.ofFile = c.Providers
	uses := r.usesFile
	r.mu.Unlock()
	if uses {
		r.serve(ctx, r.givenByFile(c.Providers), true)
	}
	return nil
}

// notReady implements [controlPlane].
func (r *remote) notReady(context.Context) error {
	r.mu.Lock()
	problem, unready, serving := r.problem, r.unready, r.serving
	r.mu.Unlock()
	switch {
	case problem != "":
		return errors.New(problem)
	case unready != "":
		return errors.New("at the control plane: " + unready)
	case serving == nil || !serving.known():
		return errors.New("the control plane has not said yet which providers there are")
	}
	return nil
}

// shared implements [controlPlane].
func (r *remote) shared() aibridge.SharedAdmission { return r.limits }

// asked implements [controlPlane].
func (r *remote) asked() aibridge.Budgets { return r.budgets }

// close implements [controlPlane]. The server closes the connection.
func (r *remote) close() error {
	r.limits.close()
	r.budgets.close()
	return nil
}
