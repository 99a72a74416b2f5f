package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/coder/aibridged/proto"
)

// Limits of the turns that gateways keep.
const (
	maxTurn       = 3 << 20 // In bytes.
	maxTurnKeys   = 256
	maxTurnKey    = 512 // In bytes.
	maxTurnLife   = 30 * 24 * time.Hour
	maxUserTurns  = 64 << 20 // In bytes, of all turns of a user.
	maxUserKeys   = 10_000
	maxFindKeys   = 1000
	maxFoundTurns = 3 << 20 // In bytes, of an answer: a message of more than 4 MiB would end the connection.
	// turnsPruned is how many expired turns a transaction deletes at most. KeepTurn keeps one turn and may delete more, so
	// they do not pile up.
	turnsPruned = 16
)

const (
	insertTurn = `INSERT INTO kept_turns (user_id, expires_at, size, keys, turn) VALUES ($1, $2, $3, $4, $5) RETURNING id`
	takeKey    = `INSERT INTO kept_turn_keys (user_id, key, turn_id) VALUES ($1, $2, $3)
		ON CONFLICT (user_id, key) DO UPDATE SET turn_id = excluded.turn_id`
	findKeyTurn = `SELECT turn_id FROM kept_turn_keys WHERE user_id = $1 AND key = $2`
	// deleteKeyless deletes a turn whose last key another one has taken over.
	deleteKeyless = `DELETE FROM kept_turns WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM kept_turn_keys WHERE turn_id = $1)`
	// deleteBeyond deletes the oldest turns of a user, as far as all together are beyond a limit.
	deleteBeyond = `DELETE FROM kept_turns WHERE id IN (
		SELECT id FROM (
			SELECT id, sum(size) OVER newer AS size, sum(keys) OVER newer AS keys
			FROM kept_turns WHERE user_id = $1 WINDOW newer AS (ORDER BY id DESC)
		) AS totals WHERE size > $2 OR keys > $3)`
	deleteExpired = `DELETE FROM kept_turns WHERE id IN (
		SELECT id FROM kept_turns WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`
	findTurn = `SELECT t.turn FROM kept_turn_keys k JOIN kept_turns t ON t.id = k.turn_id
		WHERE k.user_id = $1 AND k.key = $2 AND t.expires_at > $3`
)

// KeepTurn keeps a turn for the user's gateways until it expires, for 30 days at most. A user's turns take at most 64 MiB
// and have at most 10,000 keys: the oldest ones go. It also deletes some turns that have expired.
func (s *Server) KeepTurn(ctx context.Context, in *proto.KeepTurnRequest) (*proto.KeepTurnResponse, error) {
	user, err := parseID("user_id", in.GetUserId())
	if err == nil {
		err = checkTurn(in)
	}
	if err != nil {
		return nil, fmt.Errorf("keep turn: %w", err)
	}
	if err := s.writer.begin(); err != nil {
		return nil, unavailable(err)
	}
	defer s.writer.storing.Done()
	err = inTurn(ctx, s.db, func(ctx context.Context, tx *sql.Tx) error {
		now := time.Now()
		if _, err := tx.ExecContext(ctx, deleteExpired, now.UnixMicro(), turnsPruned); err != nil {
			return err
		}
		expires := min(in.GetExpiresAt().AsTime().UnixMicro(), now.Add(maxTurnLife).UnixMicro())
		if err := keepTurn(ctx, tx, user.String(), in, expires); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, deleteBeyond, user.String(), maxUserTurns, maxUserKeys)
		return err
	})
	if err != nil {
		return nil, unavailable(fmt.Errorf("keep turn: %w", err))
	}
	return &proto.KeepTurnResponse{}, nil
}

func checkTurn(in *proto.KeepTurnRequest) error {
	if n := len(in.GetKeys()); n == 0 || n > maxTurnKeys {
		return fmt.Errorf("%d keys: a turn has 1 to %d", n, maxTurnKeys)
	}
	for _, key := range in.GetKeys() {
		if key == "" || len(key) > maxTurnKey {
			return fmt.Errorf("a key of %d bytes: a key has 1 to %d", len(key), maxTurnKey)
		}
	}
	if n := len(in.GetTurn()); n == 0 || n > maxTurn {
		return fmt.Errorf("a turn of %d bytes: it must have 1 to %d", n, maxTurn)
	}
	if !in.GetExpiresAt().IsValid() { // A nil one is not valid.
		return errors.New("expires_at is missing or no time")
	}
	return nil
}

// keepTurn stores a turn, and gives it its keys. Other turns that have lost their last key with that are deleted.
func keepTurn(ctx context.Context, tx *sql.Tx, user string, in *proto.KeepTurnRequest, expires int64) error {
	var id int64
	row := tx.QueryRowContext(ctx, insertTurn, user, expires, len(in.GetTurn()), len(in.GetKeys()), in.GetTurn())
	if err := row.Scan(&id); err != nil {
		return err
	}
	for _, key := range in.GetKeys() {
		var before int64
		err := tx.QueryRowContext(ctx, findKeyTurn, user, key).Scan(&before)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := tx.ExecContext(ctx, takeKey, user, key, id); err != nil {
			return err
		}
		if before == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, deleteKeyless, before); err != nil {
			return err
		}
	}
	return nil
}

// FindTurns returns the turns that gateways have kept for the user and that have not expired, each under the keys that were
// asked for. It prolongs none. Its answer has at most 3 MiB of turns, in the order of the keys; more says that there are others.
func (s *Server) FindTurns(ctx context.Context, in *proto.FindTurnsRequest) (*proto.FindTurnsResponse, error) {
	user, err := parseID("user_id", in.GetUserId())
	if n := len(in.GetKeys()); err == nil && n > maxFindKeys {
		err = fmt.Errorf("%d keys: at most %d can be asked for at once", n, maxFindKeys)
	}
	if err != nil {
		return nil, fmt.Errorf("find turns: %w", err)
	}
	response := &proto.FindTurnsResponse{Turns: map[string][]byte{}}
	now, size := time.Now().UnixMicro(), 0
	for _, key := range in.GetKeys() {
		if _, known := response.GetTurns()[key]; known {
			continue
		}
		var turn []byte
		err := s.db.Reader.QueryRowContext(ctx, findTurn, user.String(), key, now).Scan(&turn)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			continue
		case err != nil:
			return nil, unavailable(fmt.Errorf("find turns: %w", err))
		}
		if size += len(turn); size > maxFoundTurns {
			response.More = true
			return response, nil
		}
		response.Turns[key] = turn
	}
	return response, nil
}

// PruneTurns deletes the turns that have expired, also those of users who keep no others.
func (s *Server) PruneTurns(ctx context.Context) error {
	if err := s.writer.begin(); err != nil {
		return unavailable(err)
	}
	defer s.writer.storing.Done()
	for deleted := int64(turnsPruned); deleted == turnsPruned; {
		err := inTurn(ctx, s.db, func(ctx context.Context, tx *sql.Tx) (err error) {
			deleted, err = affected(tx.ExecContext(ctx, deleteExpired, time.Now().UnixMicro(), turnsPruned))
			return err
		})
		if err != nil {
			return fmt.Errorf("prune turns: %w", err)
		}
	}
	return nil
}
