package reports

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Access is a look at what others wrote.
type Access struct {
	At       time.Time `json:"at"`
	ViewerID string    `json:"viewer_id"` // UUID.
	Viewer   string    `json:"viewer"`    // Username.
	APIKeyID string    `json:"api_key_id"`
	UserID   string    `json:"user_id"` // Of whom it was. Empty: of several.
	User     string    `json:"user"`
	Kind     string    `json:"kind"`    // "session", "interception", "sessions" or "interceptions".
	Subject  string    `json:"subject"` // The id, or of a list the text that was searched for.
}

// noteAccess notes that a viewer looks at what another user wrote. Without the note there is no look.
func (r *Reports) noteAccess(ctx context.Context, v Viewer, userID, kind, subject string) error {
	if v.operator() || userID == v.UserID {
		return nil
	}
	err := r.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO access_log (at, viewer_id, api_key_id, user_id, kind, subject) VALUES ($1, $2, $3, $4, $5, $6)`,
			time.Now().UnixMicro(), v.UserID, v.APIKeyID, userID, kind, titleOf(subject))
		return err
	})
	if err != nil {
		return fmt.Errorf("note the access: %w", err)
	}
	return nil
}

// AccessLog returns the latest looks at what others wrote, the latest first, at most limit. It is for administrators.
func (r *Reports) AccessLog(ctx context.Context, v Viewer, limit int) ([]Access, error) {
	if !v.Admin {
		return nil, ErrNotFound
	}
	var log []Access
	err := r.db.Read(ctx, func(tx *sql.Tx) (err error) {
		log, err = all(ctx, tx, query{`SELECT at, viewer_id, api_key_id, user_id, kind, subject FROM access_log ORDER BY seq DESC LIMIT $1`,
			arguments{min(max(limit, 0), mostUsageRows)}}, func(rows *sql.Rows) (a Access, err error) {
			var at int64
			err = rows.Scan(&at, &a.ViewerID, &a.APIKeyID, &a.UserID, &a.Kind, &a.Subject)
			a.At = time.UnixMicro(at).UTC()
			return a, err
		})
		if err != nil {
			return err
		}
		var ids []string
		for _, a := range log {
			ids = append(ids, a.ViewerID, a.UserID)
		}
		names, err := usernames(ctx, tx, ids)
		for i, a := range log {
			log[i].Viewer, log[i].User = names[a.ViewerID], names[a.UserID]
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	return log, nil
}
