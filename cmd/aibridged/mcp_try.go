package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/proto"
)

// Where the token of a try is from.
const (
	ownToken    = "own"
	configToken = "config"
	noToken     = "none"
)

// mcpTry is a try of one MCP server.
type mcpTry struct {
	config  *proto.MCPServerConfig
	token   string
	from    string // See ownToken.
	advice  string // What to do if the server refuses the token.
	failure error  // Set before the try: the token cannot be looked up.

	proxy *mcp.StreamableHTTPProxy // Nil: not made.
	took  time.Duration

	mu      sync.Mutex
	leftOut []mcpToolReport        // Guarded by mu, as known is.
	known   map[mcpToolReport]bool // The same. The list may be read a second time while the report is made.
}

// mcpTriesOfAll returns the tries of all servers, with their tokens for all.
func mcpTriesOfAll(ctx context.Context, store *store) ([]*mcpTry, error) {
	servers, err := store.MCPServers(ctx)
	if err != nil {
		return nil, err
	}
	tries := make([]*mcpTry, len(servers))
	for i, server := range servers {
		t := &mcpTry{from: noToken, advice: "configure a token, or try it with --user as a user who has a token of their own", config: &proto.MCPServerConfig{
			Id: server.ID, Url: server.URL, ToolAllowRegex: server.ToolAllowRegex, ToolDenyRegex: server.ToolDenyRegex,
		}}
		if server.TokenFrom != "" {
			t.from, t.advice = configToken, "renew the token that the configuration refers to"
			t.token, t.failure = store.Secret(ctx, server.TokenFrom)
		}
		tries[i] = t
	}
	return tries, nil
}

// mcpTriesOf returns the tries of the servers and tokens that a gateway gets for a user.
func mcpTriesOf(ctx context.Context, store *store, user string) ([]*mcpTry, error) {
	id, err := store.UserID(ctx, user)
	if err != nil {
		return nil, err
	}
	configs, err := store.GetMCPServerConfigs(ctx, &proto.GetMCPServerConfigsRequest{UserId: id})
	if err != nil {
		return nil, err
	}
	request := &proto.GetMCPServerAccessTokensBatchRequest{UserId: id}
	for _, config := range configs.GetExternalAuthMcpConfigs() {
		request.McpServerConfigIds = append(request.McpServerConfigIds, config.GetId())
	}
	tokens, err := store.GetMCPServerAccessTokensBatch(ctx, request)
	if err != nil {
		return nil, err
	}
	listed, err := store.MCPTokens(ctx)
	if err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, token := range listed {
		if token.Username == user {
			own[token.ServerID] = true
		}
	}
	var tries []*mcpTry
	for _, config := range configs.GetExternalAuthMcpConfigs() {
		t := &mcpTry{config: config, token: tokens.GetAccessTokens()[config.GetId()], from: noToken}
		t.advice = fmt.Sprintf("`aibridged mcp token set --user %q --server %s` gives this user another token", user, config.GetId())
		text, failed := tokens.GetErrors()[config.GetId()]
		switch {
		case own[config.GetId()]:
			t.from = ownToken
		case failed || t.token != "":
			t.from = configToken
		}
		if failed {
			t.failure = errors.New(text)
		}
		tries = append(tries, t)
	}
	return tries, nil
}

// runMCPTries tries all servers at once and reports what they showed. Names are given to the tools of all together, as in a
// gateway.
func runMCPTries(ctx context.Context, tries []*mcpTry) []mcpReport {
	var running sync.WaitGroup
	for _, t := range tries {
		running.Go(func() { t.run(ctx) })
	}
	running.Wait()
	var connected []mcp.ServerProxier
	for _, t := range tries {
		switch {
		case t.proxy == nil:
		case t.failure != nil:
			defer t.proxy.Shutdown(ctx) // An error would only say that the server was not told.
		default:
			connected = append(connected, t.proxy)
		}
	}
	manager := mcp.NewManager(connected, mcp.ManagerOptions{})
	defer manager.Shutdown(ctx)
	tools := map[string][]mcp.Tool{}
	if manager.Init(ctx) == nil { // At once, since all are connected. It fails only if ctx has ended.
		for _, tool := range manager.Tools() {
			tools[tool.ServerID] = append(tools[tool.ServerID], tool)
		}
	}
	reports := make([]mcpReport, len(tries))
	for i, t := range tries {
		reports[i] = t.report(tools[t.config.GetId()])
	}
	return reports
}

// run connects to the server and lists its tools.
func (t *mcpTry) run(ctx context.Context) {
	if t.failure != nil {
		return
	}
	t.known = map[mcpToolReport]bool{}
	options := mcp.ProxyOptions{ID: t.config.GetId(), URL: t.config.GetUrl(), LeftOut: t.leaveOut}
	if t.token != "" {
		options.Headers = map[string]string{"Authorization": "Bearer " + t.token}
	}
	if options.Allow, t.failure = chosenBy(t.config.GetToolAllowRegex()); t.failure != nil {
		return
	}
	if options.Deny, t.failure = chosenBy(t.config.GetToolDenyRegex()); t.failure != nil {
		return
	}
	if t.proxy, t.failure = mcp.NewStreamableHTTPProxy(options); t.failure != nil {
		return
	}
	began := time.Now()
	t.failure = t.proxy.Init(ctx)
	t.took = time.Since(began)
	if errors.Is(t.failure, mcp.ErrUnauthorized) {
		t.failure = fmt.Errorf("%w; %s", t.failure, t.advice)
	}
}

// chosenBy returns the expression in text, nil if there is none.
func chosenBy(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	return regexp.Compile(text)
}

// leaveOut notes a tool that is not used.
func (t *mcpTry) leaveOut(name string, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := mcpToolReport{Name: name, Note: why.Error()}
	if !t.known[one] {
		t.known[one] = true
		t.leftOut = append(t.leftOut, one)
	}
}

// report says what the try showed. Tools are those of the server that are used.
func (t *mcpTry) report(tools []mcp.Tool) mcpReport {
	r := mcpReport{
		ID: t.config.GetId(), URL: withoutQuery(t.config.GetUrl()), Token: t.from, Tools: []mcpToolReport{},
		Took: float64(t.took.Microseconds()) / 1000,
	}
	if t.failure != nil {
		r.Error = t.failure.Error()
	}
	for _, tool := range tools {
		one := mcpToolReport{Name: tool.Name, Injected: tool.ID}
		if tool.ID != "bmcp_"+tool.ServerID+"_"+tool.Name {
			one.Note = "renamed: the plain name is too long, has characters that models do not take, or is another tool's"
		}
		r.Tools = append(r.Tools, one)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Tools = append(r.Tools, t.leftOut...)
	return r
}

// withoutQuery returns an address without its query, which may hold a credential.
func withoutQuery(address string) string {
	at, err := url.Parse(address)
	if err != nil {
		return address
	}
	at.RawQuery, at.ForceQuery, at.Fragment = "", false, ""
	return at.String()
}
