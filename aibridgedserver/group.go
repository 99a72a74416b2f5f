package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// groupGrain is what the times of groups are taken down to, so that sums that are kept by quarter of an hour can be split
// by them. The days of every time zone begin at one of these.
const groupGrain = 15 * time.Minute

// Membership says that a user belongs to a group, from one time up to another one.
type Membership struct {
	UserID   string     `json:"user_id"` // UUID.
	Username string     `json:"username"`
	Group    string     `json:"group"`
	From     time.Time  `json:"from"`
	Until    *time.Time `json:"until"` // Nil: without end.
}

// SetUserGroups makes a user belong to these groups, and to no others, from a time on, which is taken down to a quarter of
// an hour. What was before stays. For a name that no user has, the error is [ErrUnknownUser].
func (s *Server) SetUserGroups(ctx context.Context, username string, groups []string, from time.Time) error {
	for _, group := range groups {
		if err := checkUsername(group); err != nil {
			return fmt.Errorf("set groups of %q: group %q: %w", username, group, err)
		}
	}
	at := from.Truncate(groupGrain).UnixMicro()
	err := s.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var id string
		err := tx.QueryRowContext(ctx, `SELECT id FROM users WHERE username = $1`, username).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrUnknownUser
		}
		if err != nil {
			return err
		}
		return setGroups(ctx, tx, id, groups, at)
	})
	if err != nil {
		return fmt.Errorf("set groups of %q: %w", username, err)
	}
	return nil
}

// setGroups ends all memberships of a user at a time, and begins those in groups there. One that goes on is one row.
func setGroups(ctx context.Context, tx *sql.Tx, id string, groups []string, at int64) error {
	var going []string
	err := each(ctx, tx, `SELECT name FROM user_groups WHERE user_id = $1 AND from_at < $2 AND (until_at IS NULL OR until_at >= $2)`,
		[]any{id, at}, func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			going = append(going, name)
			return err
		})
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM user_groups WHERE user_id = $1 AND from_at >= $2`, id, at)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE user_groups SET until_at = $2 WHERE user_id = $1 AND (until_at IS NULL OR until_at > $2)`, id, at)
	if err != nil {
		return err
	}
	slices.Sort(groups)
	for _, group := range slices.Compact(groups) {
		if slices.Contains(going, group) {
			_, err = tx.ExecContext(ctx, `UPDATE user_groups SET until_at = NULL WHERE user_id = $1 AND name = $2 AND until_at = $3`, id, group, at)
		} else {
			_, err = tx.ExecContext(ctx, `INSERT INTO user_groups (user_id, name, from_at) VALUES ($1, $2, $3)`, id, group, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Memberships returns who belongs and belonged to which groups, by user, and then the oldest first.
func (s *Server) Memberships(ctx context.Context) ([]Membership, error) {
	memberships := []Membership{}
	err := each(ctx, s.db.Reader, `SELECT g.user_id, u.username, g.name, g.from_at, g.until_at
		FROM user_groups g JOIN users u ON u.id = g.user_id ORDER BY u.username, g.from_at, g.name`, nil, func(rows *sql.Rows) error {
		var m Membership
		var until sql.NullInt64
		err := rows.Scan(&m.UserID, &m.Username, &m.Group, (*instant)(&m.From), &until)
		m.Until = timeOrNil(until)
		memberships = append(memberships, m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	return memberships, nil
}
