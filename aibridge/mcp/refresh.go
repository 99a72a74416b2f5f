package mcp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cdr.dev/slog/v3"
)

// refreshPause is the time between two refreshes. It protects against servers that announce a change whenever somebody
// lists their tools.
const refreshPause = time.Second

// look makes sure that a listing of the server's tools begins after this call. It does not wait for it.
func (p *StreamableHTTPProxy) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stale = true
	if p.closed || p.refreshing {
		return
	}
	p.refreshing = true
	p.background.Go(p.refresh)
}

// refresh lists the tools for as long as they may have changed.
func (p *StreamableHTTPProxy) refresh() {
	for {
		p.mu.Lock()
		if !p.stale || p.closed {
			p.refreshing = false
			p.mu.Unlock()
			return
		}
		connecting := p.attempt
		p.mu.Unlock()

		if connecting != nil {
			_ = connecting.wait(p.life) // Its error goes to the caller that asked for the attempt.
		}
		if err := p.relist(); err != nil && p.life.Err() == nil {
			p.options.Logger.Warn(p.life, "refresh tools of MCP server", slog.Error(err))
		}
		_ = pause(p.life, refreshPause) // It fails only after Shutdown, which ends the loop too.
	}
}

// relist lists the tools on the present session.
func (p *StreamableHTTPProxy) relist() error {
	p.mu.Lock()
	p.stale = false
	p.mu.Unlock()
	s, err := p.use()
	if errors.Is(err, errNotConnected) {
		return nil // The next attempt to connect lists them.
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(p.life, p.options.ConnectTimeout)
	defer cancel()
	found, err := s.list(ctx, p.choice())
	s.uses.Done()
	refused := errors.Is(err, ErrUnauthorized)
	switch {
	case refused, errors.Is(err, ErrSessionExpired), mayBeForgotten(err):
		return p.renew(p.life, s, refused)
	case err != nil:
		return p.failure("list tools", s.secrets, err)
	}
	var news change
	p.mu.Lock()
	if p.session == s {
		news = p.publish(found)
	}
	p.mu.Unlock()
	p.report(news)
	return nil
}

// mayBeForgotten reports whether err may mean that the server has forgotten the session: some servers say that with
// status 400 where the protocol wants 404.
func mayBeForgotten(err error) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.status == http.StatusBadRequest
}
