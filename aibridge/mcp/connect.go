package mcp

import (
	"context"
	"errors"
	"fmt"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// attempt is one try to connect, shared by all callers that need a connection.
type attempt struct {
	done chan struct{}
	err  error // Set before done is closed.
}

// renew returns once the present session is not old; old is nil for callers that had none. It joins the attempt that is
// under way, or starts one. Refused says that the server refused old's credentials.
func (p *StreamableHTTPProxy) renew(ctx context.Context, old *session, refused bool) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	if p.session != old {
		p.mu.Unlock()
		return nil
	}
	p.refused = p.refused || refused
	a := p.attempt
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		p.attempt = a
		parent := trace.SpanContextFromContext(ctx)
		p.background.Go(func() { p.connect(a, parent) })
	}
	p.mu.Unlock()
	return a.wait(ctx)
}

// wait returns the attempt's error, or the cause of ctx's end if ctx ends first.
func (a *attempt) wait(ctx context.Context) error {
	select {
	case <-a.done:
		return a.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// connect makes the attempt a. It does not end with the context of the caller that started it.
func (p *StreamableHTTPProxy) connect(a *attempt, parent trace.SpanContext) {
	ctx, cancel := context.WithTimeout(trace.ContextWithSpanContext(p.life, parent), p.options.ConnectTimeout)
	defer cancel()
	ctx, span := p.options.Tracer.Start(ctx, "MCP init", trace.WithAttributes(attribute.String("mcp.server", p.options.ID)))
	defer span.End()

	s, found, err := p.open(ctx)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.SetAttributes(attribute.Int("mcp.tools", len(found.tools)))

	p.mu.Lock()
	old := p.session
	p.attempt = nil
	p.refused = errors.Is(err, ErrUnauthorized)
	accepted := err == nil && !p.closed
	var news change
	if accepted {
		p.session = s
		news = p.publish(found)
	}
	p.mu.Unlock()

	if err == nil && !accepted {
		err = errors.Join(ErrClosed, s.close(p.farewell()))
	}
	p.report(news) // Before refresh, which waits for the attempt, can report what is newer.
	a.err = err
	close(a.done)
	if accepted && old != nil {
		// Calls that still run on the old session may finish there.
		old.uses.Wait()
		if err := old.close(p.farewell()); err != nil {
			p.options.Logger.Debug(p.life, "close replaced MCP session", slog.Error(p.failure("close", old.secrets, err)))
		}
	}
}

// open opens a session and lists its tools.
func (p *StreamableHTTPProxy) open(ctx context.Context) (*session, listing, error) {
	known, err := p.currentCredentials(ctx)
	if err != nil {
		return nil, listing{}, p.failure("reauthorize", known.secrets, err)
	}
	s, err := openSession(ctx, p.life, sessionTarget{
		url: p.url, credentials: known, next: p.options.Transport, look: p.look, farewell: p.farewell,
	})
	if err != nil {
		return nil, listing{}, p.failure("connect", known.secrets, err)
	}
	found, err := s.list(ctx, p.choice())
	if err != nil {
		return nil, listing{}, p.failure("list tools", known.secrets, errors.Join(err, s.close(p.farewell())))
	}
	return s, found, nil
}

// currentCredentials returns the credentials to use: new ones if the server refused the present ones. On an error it
// returns the present ones.
func (p *StreamableHTTPProxy) currentCredentials(ctx context.Context) (credentials, error) {
	p.mu.Lock()
	known, refused := p.credentials, p.refused
	p.mu.Unlock()
	if !refused || p.options.Reauthorize == nil {
		return known, nil
	}
	headers, err := p.options.Reauthorize(ctx)
	if err != nil {
		return known, fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	known = newCredentials(headers, p.url)
	p.mu.Lock()
	p.credentials, p.refused = known, false
	p.mu.Unlock()
	return known, nil
}
