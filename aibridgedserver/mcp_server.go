package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// coderServer is the id that a gateway gives to the MCP server of a host. No other server may have it.
const coderServer = "coder"

// maxServerID is how many bytes an MCP server's id may have: it is a part of the names of its tools, which have 64 at most.
const maxServerID = 32

// MCPServer is an MCP server whose tools gateways give to models.
type MCPServer struct {
	ID  string `json:"id"`
	URL string `json:"url"`
	// ToolAllowRegex and ToolDenyRegex choose tools by the server's own names for them. Empty: they choose all, and none.
	ToolAllowRegex string `json:"tool_allow_regex,omitempty"`
	ToolDenyRegex  string `json:"tool_deny_regex,omitempty"`
	// TokenFrom refers to the token for users who have none of their own; see [Options.Secret]. It is not the token. Empty:
	// they get none.
	TokenFrom string `json:"token_from,omitempty"`
	// Everyone says that all users may use the server. Otherwise only those in Users may, who need not exist yet.
	Everyone bool     `json:"everyone"`
	Users    []string `json:"users,omitempty"`
}

// Check returns an error that says what is wrong with the server, or nil. It does not repeat the URL, which may hold a
// credential.
func (m MCPServer) Check() error {
	at, err := url.Parse(m.URL)
	switch {
	case !isServerID(m.ID):
		return errors.New("id: write 1 to 32 letters, digits, hyphens and underscores, beginning with a letter or a digit")
	case m.ID == coderServer:
		return fmt.Errorf("id: %s is the id of Coder's own server, choose another", coderServer)
	case m.URL == "":
		return errors.New("url is missing")
	case err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Hostname() == "":
		return errors.New("url: write an address with a host that begins with https:// or http://")
	case at.User != nil:
		return errors.New("url: it holds a user, and credentials do not belong there: use token")
	}
	for _, expression := range []struct{ field, text string }{
		{"tool_allow_regex", m.ToolAllowRegex}, {"tool_deny_regex", m.ToolDenyRegex},
	} {
		if _, err := regexp.Compile(expression.text); err != nil {
			return fmt.Errorf("%s: %w", expression.field, err)
		}
	}
	if !m.Everyone && len(m.Users) == 0 {
		return errors.New("users names nobody: name users, or leave it out, which is everyone")
	}
	for i, user := range m.Users {
		if err := checkUsername(user); err != nil {
			return fmt.Errorf("users: %q: %w", user, err)
		}
		if slices.Contains(m.Users[:i], user) {
			return fmt.Errorf("users: %q is named twice", user)
		}
	}
	return nil
}

func isServerID(id string) bool {
	inner := strings.NewReplacer("-", "", "_", "").Replace(id)
	return isBase62(inner) && id != "" && len(id) <= maxServerID && id[0] != '-' && id[0] != '_'
}

const (
	upsertMCPServer = `INSERT INTO mcp_servers (id, url, tool_allow_regex, tool_deny_regex, token_from, everyone, enabled, configured)
		VALUES ($1, $2, $3, $4, $5, $6, TRUE, TRUE)
		ON CONFLICT (id) DO UPDATE SET url = excluded.url, tool_allow_regex = excluded.tool_allow_regex,
			tool_deny_regex = excluded.tool_deny_regex, token_from = excluded.token_from, everyone = excluded.everyone,
			enabled = TRUE, configured = TRUE`
	allMCPServers = `SELECT id, url, tool_allow_regex, tool_deny_regex, token_from, everyone FROM mcp_servers
		WHERE enabled ORDER BY id`
	allMCPServerUsers = `SELECT mcp_server_id, username FROM mcp_server_users ORDER BY mcp_server_id, username`
)

// ConfigureMCPServers makes these the servers that a configuration file names. Servers that an earlier call named, and this
// one does not, are disabled; users' tokens for them stay. Servers that came from elsewhere stay as they are.
func (s *Server) ConfigureMCPServers(ctx context.Context, servers []MCPServer) error {
	err := inTurn(ctx, s.db, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE mcp_servers SET enabled = FALSE WHERE configured`); err != nil {
			return err
		}
		for _, m := range servers {
			if err := upsertServer(ctx, tx, m); err != nil {
				return fmt.Errorf("MCP server %q: %w", m.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("configure MCP servers: %w", err)
	}
	return nil
}

func upsertServer(ctx context.Context, tx *sql.Tx, m MCPServer) error {
	if err := m.Check(); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, upsertMCPServer, m.ID, m.URL, m.ToolAllowRegex, m.ToolDenyRegex, m.TokenFrom, m.Everyone)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM mcp_server_users WHERE mcp_server_id = $1`, m.ID); err != nil {
		return err
	}
	for _, user := range m.Users {
		_, err := tx.ExecContext(ctx, `INSERT INTO mcp_server_users (mcp_server_id, username) VALUES ($1, $2)`, m.ID, user)
		if err != nil {
			return err
		}
	}
	return nil
}

// MCPServers returns the servers that are enabled, by their ids.
func (s *Server) MCPServers(ctx context.Context) ([]MCPServer, error) {
	servers, place := []MCPServer{}, map[string]int{}
	err := each(ctx, s.db.Reader, allMCPServers, nil, func(rows *sql.Rows) error {
		var m MCPServer
		err := rows.Scan(&m.ID, &m.URL, &m.ToolAllowRegex, &m.ToolDenyRegex, &m.TokenFrom, &m.Everyone)
		place[m.ID] = len(servers)
		servers = append(servers, m)
		return err
	})
	if err == nil {
		err = each(ctx, s.db.Reader, allMCPServerUsers, nil, func(rows *sql.Rows) error {
			var id, user string
			err := rows.Scan(&id, &user)
			if i, enabled := place[id]; enabled {
				servers[i].Users = append(servers[i].Users, user)
			}
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("list MCP servers: %w", err)
	}
	return servers, nil
}
