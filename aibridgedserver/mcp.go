package aibridgedserver

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/coder/aibridged/proto"
)

const (
	listMCPServers = `SELECT id, url, tool_allow_regex, tool_deny_regex FROM mcp_servers
		WHERE enabled ORDER BY id`
	listMCPTokens = `SELECT t.mcp_server_id, t.access_token FROM mcp_access_tokens t
		JOIN mcp_servers m ON m.id = t.mcp_server_id WHERE t.user_id = $1 AND m.enabled`
)

// GetMCPServerConfigs returns the MCP servers that are enabled, the same for every user. The control plane has no MCP
// server of its own, so coder_mcp_config is not set.
func (s *Server) GetMCPServerConfigs(
	ctx context.Context, in *proto.GetMCPServerConfigsRequest,
) (*proto.GetMCPServerConfigsResponse, error) {
	if _, err := parseID("user_id", in.GetUserId()); err != nil {
		return nil, err
	}
	response := &proto.GetMCPServerConfigsResponse{}
	err := each(ctx, s.db.Reader, listMCPServers, nil, func(rows *sql.Rows) error {
		server := &proto.MCPServerConfig{}
		response.ExternalAuthMcpConfigs = append(response.ExternalAuthMcpConfigs, server)
		return rows.Scan(&server.Id, &server.Url, &server.ToolAllowRegex, &server.ToolDenyRegex)
	})
	if err != nil {
		return nil, unavailable(fmt.Errorf("list MCP servers: %w", err))
	}
	return response, nil
}

// GetMCPServerAccessTokensBatch returns the user's tokens for MCP servers. Each requested id is in exactly one of the
// response's maps.
func (s *Server) GetMCPServerAccessTokensBatch(
	ctx context.Context, in *proto.GetMCPServerAccessTokensBatchRequest,
) (*proto.GetMCPServerAccessTokensBatchResponse, error) {
	user, err := parseID("user_id", in.GetUserId())
	if err != nil {
		return nil, err
	}
	tokens := map[string]string{}
	err = each(ctx, s.db.Reader, listMCPTokens, []any{user.String()}, func(rows *sql.Rows) error {
		var id, token string
		err := rows.Scan(&id, &token)
		tokens[id] = token
		return err
	})
	if err != nil {
		return nil, unavailable(fmt.Errorf("list MCP access tokens: %w", err))
	}
	response := &proto.GetMCPServerAccessTokensBatchResponse{
		AccessTokens: map[string]string{}, Errors: map[string]string{},
	}
	for _, id := range in.GetMcpServerConfigIds() {
		if token, ok := tokens[id]; ok {
			response.AccessTokens[id] = token
		} else {
			response.Errors[id] = "the user has no access token for this MCP server"
		}
	}
	return response, nil
}
