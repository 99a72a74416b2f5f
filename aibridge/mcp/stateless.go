package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// statelessVersion is the version of the protocol that has no sessions: each request says by itself who sends it, what
// for, and in which version, and server/discover takes the place of initialize.
const statelessVersion = mcpgo.ProtocolVersion20260728

// discover asks a server whether it speaks the stateless protocol. It returns nil and no error where initialize must be
// tried: servers of older protocols answer this question in all manners, or not at all.
func discover(ctx, life context.Context, target sessionTarget) (*session, error) {
	s, err := newSession(life, target, true)
	if err != nil {
		return nil, err
	}
	found, err := s.discover(ctx)
	if err == nil && slices.Contains(found.Versions, statelessVersion) {
		s.hasTools = found.Capabilities.Tools != nil
		if s.hasTools && found.Capabilities.Tools.ListChanged {
			var until context.Context
			until, s.unlisten = context.WithCancel(life)
			s.listening.Go(func() { s.listen(until) })
		}
		return s, nil
	}
	closeErr := s.close(target.farewell())
	rpc, isRPC := errors.AsType[*rpcError](err)
	if ctx.Err() != nil || errors.Is(err, ErrUnauthorized) || isRPC && rpc.isOfStateless() {
		return nil, errors.Join(err, closeErr)
	}
	return nil, closeErr
}

// discovery is the result of server/discover.
type discovery struct {
	Versions     []string     `json:"supportedVersions"`
	Capabilities capabilities `json:"capabilities"`
}

// discover takes a part of the time that ctx leaves, since initialize needs some if the server does not answer.
func (s *session) discover(ctx context.Context) (found discovery, err error) {
	if end, ok := ctx.Deadline(); ok {
		limited, cancel := context.WithTimeout(ctx, time.Until(end)/3)
		defer cancel()
		ctx = limited
	}
	got, err := s.send(ctx, s.newRequest(mcpgo.MethodServerDiscover, map[string]any{}))
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(got.result, &found); err != nil {
		return found, fmt.Errorf("the answer to server/discover: %w", err)
	}
	return found, nil
}

// listen holds a stream of notifications open until ctx ends. It gives up where the server refuses one. The endpoint
// spaces the attempts.
func (s *session) listen(ctx context.Context) {
	for ctx.Err() == nil {
		_, err := s.send(ctx, s.newRequest(mcpgo.MethodSubscriptionsListen, map[string]any{
			"notifications": mcpgo.SubscriptionFilter{ToolsListChanged: true},
		}))
		status, isStatus := errors.AsType[*statusError](err)
		_, refused := errors.AsType[*rpcError](err)
		if isStatus && status.status < http.StatusInternalServerError || refused && !isStatus {
			return
		}
	}
}

// makeStateless adds to a request's parameters what the stateless protocol wants there, and returns the header that
// repeats some of them.
func (r *request) makeStateless() (http.Header, error) {
	r.params["_meta"] = map[string]any{
		mcpgo.MetaKeyProtocolVersion:    statelessVersion,
		mcpgo.MetaKeyClientInfo:         mcpgo.Implementation{Name: clientName, Version: clientVersion},
		mcpgo.MetaKeyClientCapabilities: struct{}{},
	}
	encoded, err := json.Marshal(r.params)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	for name, value := range mcpgo.StandardHeaders(statelessVersion, r.method, encoded) {
		header.Set(name, value)
	}
	if r.tool != nil {
		for name, value := range mcpgo.GenerateParamHeaders(r.tool.forHeader(), encoded) {
			header.Set(name, value)
		}
	}
	return header, nil
}
