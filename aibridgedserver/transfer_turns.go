package aibridgedserver

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/proto"
)

// turnsRead is how many turns are read in a query of an export. Each may have some MiB.
const turnsRead = 8

// exportedTurn is a turn as an export has it. Its id is left out: in the other database it gets one of its own.
type exportedTurn struct {
	Table     string            `json:"table"`
	UserID    string            `json:"user_id"`
	ExpiresAt string            `json:"expires_at"`
	Keys      []json.RawMessage `json:"keys"`
	Turn      []byte            `json:"turn"`
}

const turnsTable = "kept_turns"

// turnRow is how a row with a turn begins.
const turnRow = `{"table":"` + turnsTable + `",`

const (
	selectTurns    = `SELECT id, user_id, expires_at, turn FROM kept_turns WHERE id > $1 AND expires_at > $2 ORDER BY id LIMIT $3`
	selectTurnKeys = `SELECT key FROM kept_turn_keys WHERE turn_id = $1 ORDER BY key`
	// findLonger finds a turn of a user's key that expires as late as another one or later.
	findLonger = `SELECT t.id FROM kept_turn_keys k JOIN kept_turns t ON t.id = k.turn_id
		WHERE k.user_id = $1 AND k.key = $2 AND t.expires_at >= $3`
)

// ExportTurns yields the turns that gateways keep for each other and that have not expired, the oldest first, as rows behind those
// of [Server.Export]. They are not a part of what that says of a database: some of them expire at any time.
func (s *Server) ExportTurns(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for after := int64(0); ; {
			page, last, err := s.turnsAfter(ctx, after)
			if err != nil {
				yield(nil, fmt.Errorf("export kept turns: %w", err))
				return
			}
			for _, row := range page {
				if !yield(row, nil) {
					return
				}
			}
			if len(page) < turnsRead {
				return
			}
			after = last
		}
	}
}

// turnsAfter returns the rows of the turns behind an id, and the id of the last.
func (s *Server) turnsAfter(ctx context.Context, after int64) (page [][]byte, last int64, err error) {
	err = s.db.Read(ctx, func(tx *sql.Tx) error {
		page = nil // It may be run again.
		var turns []exportedTurn
		var ids []int64
		err := each(ctx, tx, selectTurns, []any{after, time.Now().UnixMicro(), turnsRead}, func(rows *sql.Rows) error {
			turn, id, expires := exportedTurn{Table: turnsTable}, int64(0), time.Time{}
			err := rows.Scan(&id, &turn.UserID, (*instant)(&expires), &turn.Turn)
			turn.ExpiresAt = expires.UTC().Format(exportedTime)
			turns, ids = append(turns, turn), append(ids, id)
			return err
		})
		for i := range turns {
			if err == nil {
				turns[i].Keys, err = keysOfTurn(ctx, tx, ids[i])
			}
			if err != nil {
				return err
			}
			row, err := marshal(turns[i])
			if err != nil {
				return err
			}
			page, last = append(page, row), ids[i]
		}
		return err
	})
	return page, last, err
}

func keysOfTurn(ctx context.Context, tx *sql.Tx, id int64) (keys []json.RawMessage, err error) {
	err = each(ctx, tx, selectTurnKeys, []any{id}, func(rows *sql.Rows) error {
		var key string
		if err := rows.Scan(&key); err != nil {
			return err
		}
		text, err := writeText(key)
		keys = append(keys, text)
		return err
	})
	return keys, err
}

// isTurn reports whether a row of an export is a turn.
func isTurn(row []byte) bool { return bytes.HasPrefix(row, []byte(turnRow)) }

// parseTurn returns the turn of a row.
func parseTurn(row []byte) (*proto.KeepTurnRequest, error) {
	var turn exportedTurn
	if err := json.Unmarshal(row, &turn); err != nil {
		return nil, fmt.Errorf("kept turn: %w", err)
	}
	at, err := time.Parse(exportedTime, turn.ExpiresAt)
	if err != nil {
		return nil, fmt.Errorf("expires_at of a kept turn: %w", err)
	}
	in := &proto.KeepTurnRequest{UserId: turn.UserID, ExpiresAt: timestamppb.New(at), Turn: turn.Turn}
	for _, text := range turn.Keys {
		key, err := readText(text)
		if err != nil {
			return nil, fmt.Errorf("key of a kept turn: %w", err)
		}
		in.Keys = append(in.Keys, key)
	}
	if _, err := parseID("user_id", in.GetUserId()); err != nil {
		return nil, fmt.Errorf("kept turn: %w", err)
	}
	if err := checkTurn(in); err != nil {
		return nil, fmt.Errorf("kept turn: %w", err)
	}
	return in, nil
}

// importTurn keeps a turn of an export until it expires, and reports whether it is new. Keys that have another turn here which
// expires as late or later keep that: it is the same one, or a newer one.
func (s *Server) importTurn(ctx context.Context, row []byte) (kept bool, err error) {
	in, err := parseTurn(row)
	if err != nil {
		return false, err
	}
	all := in.GetKeys()
	err = inTurn(ctx, s.db, func(ctx context.Context, tx *sql.Tx) error {
		kept, in.Keys = false, nil
		now, user := time.Now(), in.GetUserId()
		expires := min(in.GetExpiresAt().AsTime().UnixMicro(), now.Add(maxTurnLife).UnixMicro())
		if expires <= now.UnixMicro() {
			return nil
		}
		for _, key := range all {
			longer := false
			err := each(ctx, tx, findLonger, []any{user, key, expires}, func(*sql.Rows) error { longer = true; return nil })
			if err != nil {
				return err
			}
			if !longer {
				in.Keys = append(in.Keys, key)
			}
		}
		if len(in.Keys) == 0 {
			return nil
		}
		kept = true
		if err := keepTurn(ctx, tx, user, in, expires); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, deleteBeyond, user, maxUserTurns, maxUserKeys)
		return err
	})
	return kept, err
}
