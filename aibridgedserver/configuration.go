package aibridgedserver

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrConfigured says that what a command would remove comes from a configuration file.
var ErrConfigured = errors.New("it comes from the configuration file")

// reconfigure runs do in a transaction that changes what gateways serve, so that they read it again.
func (s *Server) reconfigure(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	return inTurn(ctx, s.db, func(ctx context.Context, tx *sql.Tx) error {
		if err := do(ctx, tx); err != nil {
			return err
		}
		return noteReconfigured(ctx, tx)
	})
}

// noteReconfigured makes gateways read again what they serve.
func noteReconfigured(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `UPDATE configuration_changes SET number = number + 1`)
	return err
}

// ConfigurationChanges returns a number that grows with each change to providers, MCP servers or their secrets, by any
// process.
func (s *Server) ConfigurationChanges(ctx context.Context) (number int64, err error) {
	err = s.db.Reader.QueryRowContext(ctx, `SELECT number FROM configuration_changes`).Scan(&number)
	if err != nil {
		return 0, fmt.Errorf("look for changes of the configuration: %w", err)
	}
	return number, nil
}

// seedOf returns a digest of what an entry of a configuration file says.
func seedOf(entry any) (string, error) {
	text, err := json.Marshal(entry)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}
