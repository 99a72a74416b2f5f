package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
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
	upsertMCPServer = `INSERT INTO mcp_servers (id, url, tool_allow_regex, tool_deny_regex, token_from, everyone, enabled, configured, seed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET url = excluded.url, tool_allow_regex = excluded.tool_allow_regex,
			tool_deny_regex = excluded.tool_deny_regex, token_from = excluded.token_from, everyone = excluded.everyone,
			enabled = excluded.enabled, configured = excluded.configured, seed = excluded.seed`
	allMCPServers = `SELECT id, url, tool_allow_regex, tool_deny_regex, token_from, everyone, enabled, configured, seed
		FROM mcp_servers ORDER BY id`
	allMCPServerUsers = `SELECT mcp_server_id, username FROM mcp_server_users ORDER BY mcp_server_id, username`
)

// StoredMCPServer is an MCP server in the database.
type StoredMCPServer struct {
	MCPServer

	Disabled bool `json:"disabled"`
	// Secrets are secrets that the database is to keep: that of TokenFrom, if it is new. See [Provider.Secrets].
	Secrets map[string]string `json:"-"`
	// Configured says that a configuration file named the server, now or before, and Changed that a command has changed it
	// since. Both are only read.
	Configured bool `json:"configured"`
	Changed    bool `json:"changed"`

	seed string
}

func ownerOfMCPServer(id string) string { return "MCP server " + id }

// ConfigureMCPServers makes these the servers that a configuration file names. Servers that an earlier call named, and this
// one does not, are disabled; users' tokens for them stay. A server that an earlier call named is changed if this one says
// something else of it. What commands have made stays as it is, also beside an entry of the same id: the ids of these are
// returned.
func (s *Server) ConfigureMCPServers(ctx context.Context, servers []MCPServer) (unused []string, err error) {
	err = s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		unused = nil
		left, err := mcpServersIn(ctx, tx)
		if err != nil {
			return err
		}
		for _, m := range servers {
			seed, err := m.digest()
			if err != nil {
				return err
			}
			before, known := left[m.ID]
			delete(left, m.ID)
			switch {
			case known && !before.Configured:
				unused = append(unused, m.ID)
				continue
			case known && before.seed == seed:
				continue
			}
			if err := s.putMCPServer(ctx, tx, StoredMCPServer{MCPServer: m, Configured: true, seed: seed}); err != nil {
				return err
			}
		}
		for id, m := range left {
			if !m.Configured {
				continue
			}
			if _, err := tx.ExecContext(ctx, `UPDATE mcp_servers SET enabled = FALSE, seed = '' WHERE id = $1`, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("configure MCP servers: %w", err)
	}
	return unused, nil
}

// digest tells whether a configuration file says something else of a server than before.
func (m MCPServer) digest() (string, error) {
	m.Users = slices.Sorted(slices.Values(m.Users)) // As they are read.
	return seedOf(m)
}

// putMCPServer stores a server, in the place of one of the same id.
func (s *Server) putMCPServer(ctx context.Context, tx *sql.Tx, m StoredMCPServer) error {
	err := m.Check()
	if err == nil {
		_, err = tx.ExecContext(ctx, upsertMCPServer, m.ID, m.URL, m.ToolAllowRegex, m.ToolDenyRegex, m.TokenFrom, m.Everyone,
			!m.Disabled, m.Configured, m.seed)
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, `DELETE FROM mcp_server_users WHERE mcp_server_id = $1`, m.ID)
	}
	for _, user := range m.Users {
		if err == nil {
			_, err = tx.ExecContext(ctx, `INSERT INTO mcp_server_users (mcp_server_id, username) VALUES ($1, $2)`, m.ID, user)
		}
	}
	if err == nil {
		err = s.keepSecrets(ctx, tx, ownerOfMCPServer(m.ID), m.TokenFrom, m.Secrets)
	}
	if err != nil {
		return fmt.Errorf("MCP server %q: %w", m.ID, err)
	}
	return nil
}

// AddMCPServer stores a server that no file names. It fails with [ErrKnownMCPServer] if there is one of this id.
func (s *Server) AddMCPServer(ctx context.Context, m StoredMCPServer) error {
	m.Configured, m.seed = false, ""
	return s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		all, err := mcpServersIn(ctx, tx)
		if err != nil {
			return fmt.Errorf("add an MCP server: %w", err)
		}
		if _, known := all[m.ID]; known {
			return fmt.Errorf("MCP server %q: %w", m.ID, ErrKnownMCPServer)
		}
		return s.putMCPServer(ctx, tx, m)
	})
}

// ChangeMCPServer changes a server by change, which may not change its id, in one transaction. What it returns is returned.
// It fails with [ErrUnknownMCPServer] if there is none of this id.
func (s *Server) ChangeMCPServer(ctx context.Context, id string, change func(*StoredMCPServer) error) error {
	return s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		m, err := mcpServerIn(ctx, tx, id)
		if err != nil {
			return err
		}
		before := m
		if err := change(&m); err != nil {
			return err
		}
		m.ID, m.Configured, m.seed = id, before.Configured, before.seed
		return s.putMCPServer(ctx, tx, m)
	})
}

// RemoveMCPServer deletes a server and users' tokens for it. It fails with [ErrUnknownMCPServer] if there is none, and with
// [ErrConfigured] if a configuration file names it, which would only bring it back.
func (s *Server) RemoveMCPServer(ctx context.Context, id string) error {
	return s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		m, err := mcpServerIn(ctx, tx, id)
		if err != nil {
			return err
		}
		if m.seed != "" {
			return fmt.Errorf("MCP server %q: %w", id, ErrConfigured)
		}
		for _, statement := range []string{
			`DELETE FROM mcp_access_tokens WHERE mcp_server_id = $1`, `DELETE FROM mcp_server_users WHERE mcp_server_id = $1`,
			`DELETE FROM mcp_servers WHERE id = $1`,
		} {
			if _, err := tx.ExecContext(ctx, statement, id); err != nil {
				return fmt.Errorf("remove MCP server %q: %w", id, err)
			}
		}
		return s.keepSecrets(ctx, tx, ownerOfMCPServer(id), "", nil)
	})
}

func mcpServerIn(ctx context.Context, db querier, id string) (StoredMCPServer, error) {
	all, err := mcpServersIn(ctx, db)
	m, known := all[id]
	switch {
	case err != nil:
		return m, fmt.Errorf("list MCP servers: %w", err)
	case !known:
		return m, fmt.Errorf("MCP server %q: %w", id, ErrUnknownMCPServer)
	}
	return m, nil
}

// mcpServersIn returns all servers, by id.
func mcpServersIn(ctx context.Context, db querier) (map[string]StoredMCPServer, error) {
	users := map[string][]string{}
	err := each(ctx, db, allMCPServerUsers, nil, func(rows *sql.Rows) error {
		var id, user string
		err := rows.Scan(&id, &user)
		users[id] = append(users[id], user)
		return err
	})
	if err != nil {
		return nil, err
	}
	servers := map[string]StoredMCPServer{}
	err = each(ctx, db, allMCPServers, nil, func(rows *sql.Rows) error {
		var m StoredMCPServer
		var enabled bool
		err := rows.Scan(&m.ID, &m.URL, &m.ToolAllowRegex, &m.ToolDenyRegex, &m.TokenFrom, &m.Everyone, &enabled, &m.Configured, &m.seed)
		if err != nil {
			return err
		}
		m.Users, m.Disabled = users[m.ID], !enabled
		now, err := m.digest()
		m.Changed = m.seed != "" && (now != m.seed || m.Disabled)
		servers[m.ID] = m
		return err
	})
	return servers, err
}

// StoredMCPServers returns all servers, by their ids, also those that are disabled.
func (s *Server) StoredMCPServers(ctx context.Context) ([]StoredMCPServer, error) {
	all, err := mcpServersIn(ctx, s.db.Reader)
	if err != nil {
		return nil, fmt.Errorf("list MCP servers: %w", err)
	}
	servers := make([]StoredMCPServer, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		servers = append(servers, all[id])
	}
	return servers, nil
}

// MCPServers returns the servers that are enabled, by their ids.
func (s *Server) MCPServers(ctx context.Context) ([]MCPServer, error) {
	all, err := s.StoredMCPServers(ctx)
	if err != nil {
		return nil, err
	}
	servers := []MCPServer{}
	for _, m := range all {
		if !m.Disabled {
			servers = append(servers, m.MCPServer)
		}
	}
	return servers, nil
}
