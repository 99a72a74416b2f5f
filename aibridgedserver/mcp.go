package aibridgedserver

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/coder/aibridged/proto"
)

const (
	// mayUse is the condition that the user u may use the MCP server m.
	mayUse = `(m.enabled AND (m.everyone OR EXISTS (
		SELECT 1 FROM mcp_server_users a WHERE a.mcp_server_id = m.id AND a.username = u.username)))`
	// mcpServersOf selects the servers that the user $1 may use, and the user's own tokens for them. A user that nobody knows
	// may use what everyone may.
	mcpServersOf = `SELECT m.id, m.url, m.tool_allow_regex, m.tool_deny_regex, m.token_from, t.access_token
		FROM mcp_servers m LEFT JOIN users u ON u.id = $1
		LEFT JOIN mcp_access_tokens t ON t.mcp_server_id = m.id AND t.user_id = u.id
		WHERE ` + mayUse + ` ORDER BY m.id`
)

// usable is an MCP server that a user may use.
type usable struct {
	config    *proto.MCPServerConfig
	tokenFrom string
	own       sql.NullString // The user's own token, as it is stored in ownPlace.
	ownPlace  string
}

// usableServers returns the servers that a user may use.
func (s *Server) usableServers(ctx context.Context, userID string) ([]usable, error) {
	user, err := parseID("user_id", userID)
	if err != nil {
		return nil, err
	}
	var servers []usable
	err = each(ctx, s.db.Reader, mcpServersOf, []any{user.String()}, func(rows *sql.Rows) error {
		m := usable{config: &proto.MCPServerConfig{}}
		err := rows.Scan(&m.config.Id, &m.config.Url, &m.config.ToolAllowRegex, &m.config.ToolDenyRegex, &m.tokenFrom, &m.own)
		m.ownPlace = tokenPlace(user.String(), m.config.Id)
		servers = append(servers, m)
		return err
	})
	if err != nil {
		return nil, unavailable(fmt.Errorf("list the MCP servers of a user: %w", err))
	}
	return servers, nil
}

// GetMCPServerConfigs returns the MCP servers that the user may use. The control plane has no MCP server of its own, so
// coder_mcp_config is not set.
func (s *Server) GetMCPServerConfigs(
	ctx context.Context, in *proto.GetMCPServerConfigsRequest,
) (*proto.GetMCPServerConfigsResponse, error) {
	servers, err := s.usableServers(ctx, in.GetUserId())
	if err != nil {
		return nil, err
	}
	response := &proto.GetMCPServerConfigsResponse{}
	for _, m := range servers {
		response.ExternalAuthMcpConfigs = append(response.ExternalAuthMcpConfigs, m.config)
	}
	return response, nil
}

// GetMCPServerAccessTokensBatch returns tokens for MCP servers: the user's own, or else the server's token for all, which
// is looked up anew. A server that has neither gets an empty one, since it may need none. Each requested id is in exactly one
// of the response's maps.
func (s *Server) GetMCPServerAccessTokensBatch(
	ctx context.Context, in *proto.GetMCPServerAccessTokensBatchRequest,
) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
	servers, err := s.usableServers(ctx, in.GetUserId())
	if err != nil {
		return nil, err
	}
	known := make(map[string]usable, len(servers))
	for _, m := range servers {
		known[m.config.GetId()] = m
	}
	response := &proto.GetMCPServerAccessTokensBatchResponse{
		AccessTokens: map[string]string{}, Errors: map[string]string{},
	}
	for _, id := range in.GetMcpServerConfigIds() {
		m, ok := known[id]
		if !ok {
			response.Errors[id] = "the user has no such MCP server"
			continue
		}
		token, err := s.tokenFor(ctx, m)
		if err != nil {
			response.Errors[id] = err.Error()
			continue
		}
		response.AccessTokens[id] = token
	}
	return response, nil
}

// tokenFor returns the token for a server, which is empty if there is none.
func (s *Server) tokenFor(ctx context.Context, m usable) (string, error) {
	switch {
	case m.own.Valid:
		return s.secrets.open(m.own.String, m.ownPlace)
	case m.tokenFrom == "":
		return "", nil
	}
	token, err := s.Secret(ctx, m.tokenFrom)
	if err == nil {
		err = checkMCPToken(token)
	}
	return token, err
}

// tokenPlace is where a user's own token for a server is stored.
func tokenPlace(userID, serverID string) string { return "mcp/" + userID + "/" + serverID }
