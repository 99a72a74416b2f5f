package join

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"cdr.dev/slog/v3"
)

const (
	// patience is how long a connection has to prove who it is.
	patience = 5 * time.Second
	// mostAtATime is how many connections may be doing so.
	mostAtATime = 256
)

// ErrInvalid is what [Gate.Check] returns for a token that is not valid.
var ErrInvalid = errors.New("the join token is not valid, or was revoked: `aibridged control join-token` prints another")

// Gate lets gateways in that prove who they are. It is safe for concurrent use.
type Gate struct {
	// TLS is how the gate speaks TLS. A gateway that shows a certificate is let in if TLS verifies it.
	TLS *tls.Config
	// Check returns nil for the id and the secret of a token that is valid, [ErrInvalid] for another one, and else why this
	// cannot be decided. It must take as long for either, whatever part of the token is wrong. Nil: no token is valid.
	Check func(ctx context.Context, id, secret string) error
	// Logger is told which gateways come and go.
	Logger slog.Logger

	mu      sync.Mutex
	waiting int                    // How many connections have not proved who they are. Guarded by mu.
	inside  map[*admitted]struct{} // Guarded by mu.
}

// admitted is a connection of a gateway that was let in.
type admitted struct {
	net.Conn

	gate    *Gate
	tokenID string // Empty: it has shown a certificate.
	leave   sync.Once
}

// Admit is for controlplane.ServeOptions.
func (g *Gate) Admit(ctx context.Context, conn net.Conn) (_ net.Conn, err error) {
	defer func() {
		if err != nil {
			_ = conn.Close() // The client is told, or has left.
		}
	}()
	if !g.enter() {
		return nil, fmt.Errorf("more than %d connections have not said who they are", mostAtATime)
	}
	defer g.leave()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	secured := tls.Server(conn, g.TLS)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	token, refusal := g.judge(ctx, secured)
	answer := answerWelcome
	if refusal != nil {
		answer = answerRefused + toldOf(refusal)
	}
	if _, err := secured.Write([]byte(answer + "\n")); err != nil {
		return nil, errors.Join(refusal, err)
	}
	if refusal != nil {
		return nil, errors.Join(refusal, secured.CloseWrite())
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return g.admit(secured, token), nil
}

// judge reads who a gateway says that it is, and returns an error if it is not to be let in.
func (g *Gate) judge(ctx context.Context, secured *tls.Conn) (Token, error) {
	line, err := readLine(secured)
	if err != nil {
		return Token{}, err
	}
	token, err := parseGreeting(line)
	switch {
	case err != nil:
		return Token{}, err
	case token.ID != "" && g.Check == nil:
		return token, ErrInvalid
	case token.ID != "":
		if err := g.Check(ctx, token.ID, token.Secret); err != nil {
			return token, fmt.Errorf("%s: %w", token, err)
		}
		return token, nil
	case len(secured.ConnectionState().VerifiedChains) == 0:
		return token, errNoCertificate
	}
	return token, nil
}

// errNoCertificate is the refusal of a gateway without a token and without a certificate.
var errNoCertificate = errors.New("neither a join token nor a certificate that this control plane trusts")

// toldOf returns what a gateway may know of a refusal.
func toldOf(refusal error) string {
	for _, told := range []error{ErrInvalid, errNoCertificate, errGreeting} {
		if errors.Is(refusal, told) {
			return told.Error()
		}
	}
	return "it cannot be decided now whether the join token is valid"
}

// enter counts a connection that has not proved who it is, unless there are too many.
func (g *Gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting >= mostAtATime {
		return false
	}
	g.waiting++
	return true
}

func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
}

func (g *Gate) admit(secured *tls.Conn, token Token) *admitted {
	a := &admitted{Conn: secured, gate: g, tokenID: token.ID}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside == nil {
		g.inside = map[*admitted]struct{}{}
	}
	g.inside[a] = struct{}{}
	g.Logger.Info(context.Background(), "a gateway has joined", a.fields()...)
	return a
}

// fields says who the gateway is.
func (a *admitted) fields() []slog.Field {
	fields := []slog.Field{slog.F("remote", a.RemoteAddr().String())}
	if a.tokenID != "" {
		return append(fields, slog.F("join_token", a.tokenID))
	}
	if secured, ok := a.Conn.(*tls.Conn); ok {
		for _, chain := range secured.ConnectionState().VerifiedChains {
			return append(fields, slog.F("certificate", chain[0].Subject.String()))
		}
	}
	return fields
}

// Close implements [net.Conn].
func (a *admitted) Close() error {
	a.leave.Do(func() {
		a.gate.mu.Lock()
		delete(a.gate.inside, a)
		a.gate.mu.Unlock()
		a.gate.Logger.Info(context.Background(), "a gateway has left", a.fields()...)
	})
	return a.Conn.Close()
}

// Gateways returns how many gateways are connected.
func (g *Gate) Gateways() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.inside)
}

// TokenIDs returns the ids of the tokens with which gateways have come in that are connected.
func (g *Gate) TokenIDs() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := map[string]bool{}
	var ids []string
	for a := range g.inside {
		if a.tokenID != "" && !known[a.tokenID] {
			known[a.tokenID] = true
			ids = append(ids, a.tokenID)
		}
	}
	return ids
}

// Revoke closes the connections of gateways that have come in with the token of an id.
func (g *Gate) Revoke(id string) {
	g.mu.Lock()
	var revoked []*admitted
	for a := range g.inside {
		if a.tokenID == id {
			revoked = append(revoked, a)
		}
	}
	g.mu.Unlock()
	for _, a := range revoked {
		g.Logger.Warn(context.Background(), "a gateway is disconnected: its join token was revoked", a.fields()...)
		if secured, ok := a.Conn.(*tls.Conn); ok {
			_ = secured.NetConn().Close() // To say goodbye first could take long, if nothing is read at the other end.
		}
		_ = a.Close() // Its streams end with it.
	}
}
