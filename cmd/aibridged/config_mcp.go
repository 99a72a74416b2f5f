package main

import (
	"context"
	"errors"
	"fmt"

	"cdr.dev/slog/v3"
	"github.com/goccy/go-yaml"

	"github.com/coder/aibridged/aibridgedserver"
)

// mcpServerConfig is an entry of mcp_servers.
type mcpServerConfig struct {
	ID             string   `yaml:"id"`
	URL            string   `yaml:"url"`
	Token          string   `yaml:"token"`
	ToolAllowRegex string   `yaml:"tool_allow_regex"`
	ToolDenyRegex  string   `yaml:"tool_deny_regex"`
	Users          []string `yaml:"users"`

	// limited says that the entry has users. If they are empty, that is a mistake, and must not mean everyone.
	limited bool
}

// noteLimited looks in the text of the configuration for which MCP servers have users, since the decoder does not tell an
// empty member from none.
func (c config) noteLimited(text []byte) error {
	var entries struct {
		MCPServers []map[string]any `yaml:"mcp_servers"`
	}
	if err := yaml.Unmarshal(text, &entries); err != nil {
		return errors.New(yaml.FormatError(err, false, false))
	}
	for i := range c.MCPServers {
		_, found := entries.MCPServers[i]["users"]
		c.MCPServers[i].limited = found || len(c.MCPServers[i].Users) > 0
	}
	return nil
}

// mcpServers returns the configured MCP servers. Its errors never repeat a token.
func (c config) mcpServers() ([]aibridgedserver.MCPServer, error) {
	servers, known := make([]aibridgedserver.MCPServer, 0, len(c.MCPServers)), map[string]bool{}
	for i, configured := range c.MCPServers {
		server, err := configured.server()
		if err == nil && known[server.ID] {
			err = errors.New("two servers have this id")
		}
		if err != nil {
			return nil, fmt.Errorf("mcp_servers: entry %d (%q): %w", i+1, configured.ID, err)
		}
		known[server.ID] = true
		servers = append(servers, server)
	}
	return servers, nil
}

// server returns the server that m describes. A path in it becomes absolute, so that a command that is run elsewhere finds
// the file.
func (m mcpServerConfig) server() (aibridgedserver.MCPServer, error) {
	server := aibridgedserver.MCPServer{
		ID: m.ID, URL: m.URL, ToolAllowRegex: m.ToolAllowRegex, ToolDenyRegex: m.ToolDenyRegex,
		TokenFrom: m.Token, Everyone: !m.limited, Users: m.Users,
	}
	if err := server.Check(); err != nil {
		return server, err
	}
	if m.Token != "" && !isReference(m.Token) {
		return server, fmt.Errorf("token: keep tokens out of this file: %w", errNoReference)
	}
	var err error
	server.TokenFrom, err = absoluteReference(m.Token)
	return server, err
}

// mcpToken returns the token that a reference in the database stands for.
func mcpToken(reference string) (string, error) { return secretOf(reference, "token") }

// warnOfTokens logs which tokens cannot be looked up now. Such a server is without tools until its token is there.
func warnOfTokens(ctx context.Context, servers []aibridgedserver.MCPServer, logger slog.Logger) {
	for _, server := range servers {
		if server.TokenFrom == "" {
			continue
		}
		if _, err := mcpToken(server.TokenFrom); err != nil {
			logger.Warn(ctx, "the token of an MCP server cannot be read: it is without tools for users who have no token of their own",
				slog.F("mcp_server", server.ID), slog.Error(err))
		}
	}
}
