package reports

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
)

// SavePrices keeps in a database the prices that its gateway is set up with, for others that derive from its records.
func SavePrices(ctx context.Context, db aibridgedserver.Database, overrides []prices.Override) error {
	text, err := json.Marshal(overrides)
	if err == nil {
		err = db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO price_overrides (only_row, overrides) VALUES (TRUE, $1)
				ON CONFLICT (only_row) DO UPDATE SET overrides = excluded.overrides`, string(text))
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("save prices: %w", err)
	}
	return nil
}

// SavedPrices returns the prices that the gateway of a database was last set up with.
func SavedPrices(ctx context.Context, db aibridgedserver.Database) (overrides []prices.Override, err error) {
	var text []byte
	err = db.Reader.QueryRowContext(ctx, `SELECT overrides FROM price_overrides`).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &overrides)
	}
	if err != nil {
		return nil, fmt.Errorf("saved prices: %w", err)
	}
	return overrides, nil
}
