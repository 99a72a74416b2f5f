package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrUnknownUser says that there is no user of a name: a user is made with the first token.
var ErrUnknownUser = errors.New("no user has this name")

// ErrUnknownMCPServer says that there is no MCP server of an id.
var ErrUnknownMCPServer = errors.New("no MCP server has this id")

// ErrKnownMCPServer says that there is an MCP server of an id already.
var ErrKnownMCPServer = errors.New("an MCP server of this id is there already")

// UserID returns the id of the user of that name, or [ErrUnknownUser].
func (s *Server) UserID(ctx context.Context, username string) (string, error) {
	var id string
	err := s.db.Reader.QueryRowContext(ctx, `SELECT id FROM users WHERE username = $1`, username).Scan(&id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", fmt.Errorf("%q: %w", username, ErrUnknownUser)
	case err != nil:
		return "", fmt.Errorf("find user %q: %w", username, err)
	}
	return id, nil
}

// MCPToken describes a user's own token for an MCP server, without the token.
type MCPToken struct {
	Username string    `json:"username"`
	ServerID string    `json:"server_id"`
	SetAt    time.Time `json:"set_at"`
	// Used says that the server is enabled and that the user may use it.
	Used bool `json:"used"`
}

// maxMCPToken is how many bytes a token for an MCP server may have.
const maxMCPToken = 16 << 10

// checkMCPToken refuses what cannot be a bearer token. Its error does not repeat it.
func checkMCPToken(token string) error {
	switch {
	case token == "":
		return errors.New("the token is empty")
	case len(token) > maxMCPToken:
		return fmt.Errorf("the token is longer than %d bytes", maxMCPToken)
	case slices.ContainsFunc([]byte(token), func(b byte) bool { return b <= ' ' || b > '~' }):
		return errors.New("the token has a blank, a line break or another character that no token has")
	}
	return nil
}

// SetMCPToken stores a user's own token for an MCP server, in place of an earlier one. It goes before the server's token for
// all. The errors [ErrUnknownUser] and [ErrUnknownMCPServer] say what is missing.
func (s *Server) SetMCPToken(ctx context.Context, username, serverID, token string) error {
	if err := checkMCPToken(token); err != nil {
		return err
	}
	user, err := s.UserID(ctx, username)
	if err != nil {
		return err
	}
	err = s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var known string
		err := tx.QueryRowContext(ctx, `SELECT id FROM mcp_servers WHERE id = $1`, serverID).Scan(&known)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrUnknownMCPServer
		}
		if err != nil {
			return err
		}
		stored, err := s.secrets.seal(ctx, tx, token, tokenPlace(user, serverID))
		if err == nil {
			_, err = tx.ExecContext(ctx, `INSERT INTO mcp_access_tokens (user_id, mcp_server_id, access_token, set_at)
				VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, mcp_server_id)
				DO UPDATE SET access_token = excluded.access_token, set_at = excluded.set_at`,
				user, serverID, stored, time.Now().UnixMicro())
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set the token of %q for MCP server %q: %w", username, serverID, err)
	}
	return nil
}

// RemoveMCPToken deletes a user's own token for an MCP server, and reports whether there was one.
func (s *Server) RemoveMCPToken(ctx context.Context, username, serverID string) (removed bool, err error) {
	var n int64
	err = s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n, err = affected(tx.ExecContext(ctx, `DELETE FROM mcp_access_tokens
			WHERE mcp_server_id = $1 AND user_id = (SELECT id FROM users WHERE username = $2)`, serverID, username))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("remove the token of %q for MCP server %q: %w", username, serverID, err)
	}
	return n > 0, nil
}

// MCPTokens returns the users' own tokens, by user and server.
func (s *Server) MCPTokens(ctx context.Context) ([]MCPToken, error) {
	tokens := []MCPToken{}
	err := each(ctx, s.db.Reader, `SELECT u.username, t.mcp_server_id, t.set_at, `+mayUse+`
		FROM mcp_access_tokens t JOIN users u ON u.id = t.user_id JOIN mcp_servers m ON m.id = t.mcp_server_id
		ORDER BY u.username, t.mcp_server_id`, nil, func(rows *sql.Rows) error {
		var token MCPToken
		err := rows.Scan(&token.Username, &token.ServerID, (*instant)(&token.SetAt), &token.Used)
		tokens = append(tokens, token)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list tokens for MCP servers: %w", err)
	}
	return tokens, nil
}
