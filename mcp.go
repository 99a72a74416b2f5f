package aibridged

import (
	"context"
	"fmt"
	"regexp"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/xerrors"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/proto"
)

// InternalMCPServerID is the id of Coder's own MCP server, which takes the user's session key. No other server may have
// this id.
const InternalMCPServerID = "coder"

var (
	// ErrEmptyConfig says that the control plane's configuration of an MCP server lacks an id or a URL, or is missing.
	ErrEmptyConfig = xerrors.New("empty config given")
	// ErrCompileRegex says that an expression that selects an MCP server's tools is no valid regular expression.
	ErrCompileRegex = xerrors.New("compile tool regex")
)

var (
	errNoToken     = xerrors.New("no access token")
	errServerIDUse = xerrors.New("the id is another server's")
)

// MCPProxyBuilder makes the MCP sessions of a bridge.
//
// Deprecated: hosts should let the pool build them.
type MCPProxyBuilder interface {
	// Build returns the MCP sessions for the user and key in req, not connected; the caller initialises them and shuts
	// them down. It is safe for concurrent use. The tracer may be nil.
	Build(ctx context.Context, req Request, tracer trace.Tracer) (mcp.ServerProxier, error)
}

// MCPProxyFactory is the [MCPProxyBuilder] that asks the control plane which servers a user may use, and with which
// tokens.
//
// Deprecated: hosts should let the pool build the MCP sessions.
type MCPProxyFactory struct {
	logger   slog.Logger
	tracer   trace.Tracer
	clientFn ClientFunc
	options  MCPOptions
	late     *mcp.Late
}

var _ MCPProxyBuilder = (*MCPProxyFactory)(nil)

// NewMCPProxyFactory returns a factory that asks the clients of clientFn. It uses tracer for builds that are given
// none.
//
// Deprecated: hosts should let the pool build the MCP sessions.
func NewMCPProxyFactory(logger slog.Logger, tracer trace.Tracer, clientFn ClientFunc) *MCPProxyFactory {
	return &MCPProxyFactory{logger: logger, tracer: tracer, clientFn: clientFn, late: mcp.NewLate()}
}

// Build implements [MCPProxyBuilder]. It fails if the control plane cannot be asked. A server that is badly configured,
// or for which there is no token, is left out with a warning; a user without servers has sessions without tools.
// Coder's own server is left out where req has no session key.
func (f *MCPProxyFactory) Build(ctx context.Context, req Request, tracer trace.Tracer) (mcp.ServerProxier, error) {
	client, err := f.clientFn()
	if err != nil {
		return nil, fmt.Errorf("build MCP sessions: %w", err)
	}
	user := req.InitiatorID.String()
	configs, err := client.GetMCPServerConfigs(ctx, &proto.GetMCPServerConfigsRequest{UserId: user})
	if err != nil {
		return nil, fmt.Errorf("get MCP server configs of user %s: %w", user, err)
	}
	b := mcpBuild{
		logger: f.logger.With(slog.F("initiator_id", user)), tracer: tracer, clientFn: f.clientFn, user: user, options: f.options,
	}
	if tracer == nil {
		b.tracer = f.tracer
	}
	if config := configs.GetCoderMcpConfig(); config != nil && req.SessionKey != "" {
		b.addCoder(ctx, config, req.SessionKey)
	}
	if err := b.addExternal(ctx, client, configs.GetExternalAuthMcpConfigs()); err != nil {
		return nil, err
	}
	return mcp.NewManager(b.servers, mcp.ManagerOptions{Wait: f.options.Wait, Owner: user, Late: f.late, Logger: b.logger}), nil
}

// mcpBuild is one Build under way.
type mcpBuild struct {
	logger   slog.Logger
	tracer   trace.Tracer
	clientFn ClientFunc
	user     string
	options  MCPOptions
	servers  []mcp.ServerProxier
}

// addCoder adds Coder's own MCP server.
func (b *mcpBuild) addCoder(ctx context.Context, config *proto.MCPServerConfig, sessionKey string) {
	options, err := mcpOptions(config)
	if err != nil {
		b.leaveOut(ctx, config, err)
		return
	}
	options.ID = InternalMCPServerID
	options.Headers = bearer(sessionKey)
	b.add(ctx, config, options)
}

// addExternal adds the servers that take tokens of their own. It asks for all tokens in one call.
func (b *mcpBuild) addExternal(ctx context.Context, client DRPCClient, configs []*proto.MCPServerConfig) error {
	known := map[string]bool{InternalMCPServerID: true}
	var wanted []mcp.ProxyOptions
	var ids []string
	var of []*proto.MCPServerConfig
	for _, config := range configs {
		options, err := mcpOptions(config)
		if err == nil && known[options.ID] {
			err = errServerIDUse
		}
		if err != nil {
			b.leaveOut(ctx, config, err)
			continue
		}
		known[options.ID] = true
		wanted, ids, of = append(wanted, options), append(ids, options.ID), append(of, config)
	}
	if len(ids) == 0 {
		return nil
	}
	tokens, err := accessTokens(ctx, client, b.user, ids)
	if err != nil {
		return err
	}
	for i, options := range wanted {
		token, err := tokenOf(tokens, options.ID)
		if err != nil {
			b.leaveOut(ctx, of[i], err)
			continue
		}
		options.Headers = bearer(token)
		options.Reauthorize = b.reauthorize(options.ID)
		b.add(ctx, of[i], options)
	}
	return nil
}

// add adds a server.
func (b *mcpBuild) add(ctx context.Context, config *proto.MCPServerConfig, options mcp.ProxyOptions) {
	options.Logger, options.Tracer = b.logger, b.tracer
	b.options.limit(&options)
	server, err := mcp.NewStreamableHTTPProxy(options)
	if err != nil {
		b.leaveOut(ctx, config, err)
		return
	}
	b.servers = append(b.servers, server)
}

// leaveOut logs that a server is not used, and why.
func (b *mcpBuild) leaveOut(ctx context.Context, config *proto.MCPServerConfig, err error) {
	b.logger.Warn(ctx, "MCP server is left out", slog.F("mcp_server", config.GetId()), slog.Error(err))
}

// reauthorize returns a function that asks for a server's token once more: the control plane renews expired tokens.
func (b *mcpBuild) reauthorize(id string) func(context.Context) (map[string]string, error) {
	clientFn, user := b.clientFn, b.user
	return func(ctx context.Context) (map[string]string, error) {
		client, err := clientFn()
		if err != nil {
			return nil, err
		}
		tokens, err := accessTokens(ctx, client, user, []string{id})
		if err != nil {
			return nil, err
		}
		token, err := tokenOf(tokens, id)
		if err != nil {
			return nil, err
		}
		return bearer(token), nil
	}
}

// mcpOptions returns the options that config has for a server.
func mcpOptions(config *proto.MCPServerConfig) (mcp.ProxyOptions, error) {
	if config.GetId() == "" || config.GetUrl() == "" {
		return mcp.ProxyOptions{}, ErrEmptyConfig
	}
	allow, err := toolRegex("allow", config.GetToolAllowRegex())
	if err != nil {
		return mcp.ProxyOptions{}, err
	}
	deny, err := toolRegex("deny", config.GetToolDenyRegex())
	if err != nil {
		return mcp.ProxyOptions{}, err
	}
	return mcp.ProxyOptions{ID: config.GetId(), URL: config.GetUrl(), Allow: allow, Deny: deny}, nil
}

// toolRegex returns the expression in text, or nil where text is empty.
func toolRegex(which, text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	expression, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCompileRegex, which, err)
	}
	return expression, nil
}

// accessTokens asks for the user's tokens for the servers with these ids.
func accessTokens(ctx context.Context, client DRPCClient, user string, ids []string) (
	*proto.GetMCPServerAccessTokensBatchResponse, error,
) {
	tokens, err := client.GetMCPServerAccessTokensBatch(ctx, &proto.GetMCPServerAccessTokensBatchRequest{
		UserId: user, McpServerConfigIds: ids,
	})
	if err != nil {
		return nil, fmt.Errorf("get MCP access tokens of user %s: %w", user, err)
	}
	return tokens, nil
}

// tokenOf returns a server's token, which is empty for a server that needs none. It fails where the answer has an error
// for the server, even beside a token.
func tokenOf(tokens *proto.GetMCPServerAccessTokensBatchResponse, id string) (string, error) {
	if text, failed := tokens.GetErrors()[id]; failed {
		return "", fmt.Errorf("%w: %s", errNoToken, text)
	}
	if token, ok := tokens.GetAccessTokens()[id]; ok {
		return token, nil
	}
	return "", errNoToken
}

func bearer(token string) map[string]string {
	if token == "" {
		return nil
	}
	return map[string]string{"Authorization": "Bearer " + token}
}
