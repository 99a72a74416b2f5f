package aibridgedserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Errors of the methods for join tokens.
var (
	// ErrUnknownJoinToken is the error for an id that no join token has.
	ErrUnknownJoinToken = errors.New("no join token has this id")
	// ErrInvalidJoinToken is the error for a join token that is not valid. It does not say why.
	ErrInvalidJoinToken = errors.New("this join token is not valid")
)

// JoinToken describes a token by which gateways without a database prove who they are, without its secret.
type JoinToken struct {
	ID        string
	Name      string // What a person calls it. May be empty.
	CreatedAt time.Time
	RevokedAt *time.Time // Nil: not revoked.
}

// AddJoinToken stores a join token. Its secret must be random and long, since only its SHA-256 is stored.
func (s *Server) AddJoinToken(ctx context.Context, id, secret, name string) error {
	sum := sha256.Sum256([]byte(secret))
	err := s.db.write(ctx, s.db.Writer, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO join_tokens (id, name, secret_sha256, created_at) VALUES ($1, $2, $3, $4)`,
			id, name, sum[:], time.Now().UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("add a join token: %w", err)
	}
	return nil
}

// JoinTokens returns all join tokens, the oldest first, including those that are revoked.
func (s *Server) JoinTokens(ctx context.Context) ([]JoinToken, error) {
	var tokens []JoinToken
	err := each(ctx, s.db.Reader, `SELECT id, name, created_at, revoked_at FROM join_tokens ORDER BY created_at, id`, nil, func(rows *sql.Rows) error {
		var token JoinToken
		var revoked sql.NullInt64
		err := rows.Scan(&token.ID, &token.Name, (*instant)(&token.CreatedAt), &revoked)
		token.RevokedAt = timeOrNil(revoked)
		tokens = append(tokens, token)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list join tokens: %w", err)
	}
	return tokens, nil
}

// CheckJoinToken returns nil for a join token that is valid, and [ErrInvalidJoinToken] for another one. It takes as long
// for an id that is not known as for a secret that is wrong.
func (s *Server) CheckJoinToken(ctx context.Context, id, secret string) error {
	stored, revoked := make([]byte, sha256.Size), sql.NullInt64{}
	err := s.db.Reader.QueryRowContext(ctx, `SELECT secret_sha256, revoked_at FROM join_tokens WHERE id = $1`, id).Scan(&stored, &revoked)
	known := !errors.Is(err, sql.ErrNoRows)
	if err != nil && known {
		return fmt.Errorf("look up a join token: %w", err)
	}
	given := sha256.Sum256([]byte(secret))
	if genuine := subtle.ConstantTimeCompare(given[:], stored) == 1; !genuine || !known || revoked.Valid {
		return ErrInvalidJoinToken
	}
	return nil
}

// RevokeJoinToken revokes the join token with that id. Revoking it again changes nothing. For an id that no join token has,
// the error is [ErrUnknownJoinToken].
func (s *Server) RevokeJoinToken(ctx context.Context, id string) error {
	var known int64
	err := s.db.write(ctx, s.db.Writer, func(tx *sql.Tx) (err error) {
		known, err = affected(tx.ExecContext(ctx,
			`UPDATE join_tokens SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2`, time.Now().UnixMicro(), id))
		return err
	})
	if err == nil && known == 0 {
		err = ErrUnknownJoinToken // It does not repeat the id: that may be a whole token.
	}
	if err != nil {
		return fmt.Errorf("revoke a join token: %w", err)
	}
	return nil
}
