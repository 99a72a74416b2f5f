package crashtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// checkOrder checks one state of the database. Records are delivered in the order in which they were made. Each client
// sends one request after the other, so all of its interceptions but the last must have ended. It returns how many
// interceptions a kill has cut.
func (s *stage) checkOrder() (cut int) {
	s.t.Helper()
	rows, err := s.db.Reader.QueryContext(s.ctx, `SELECT model, ended_at IS NOT NULL,
		COALESCE(error_message, '') = $1 FROM interceptions WHERE started = 1 ORDER BY id`, cutMessage)
	s.must(err)
	defer rows.Close()
	type latest struct {
		number int
		ended  bool
	}
	last := make(map[string]latest)
	for rows.Next() {
		var model string
		var ended, wasCut bool
		s.must(rows.Scan(&model, &ended, &wasCut))
		if wasCut {
			cut++
		}
		client, digits, _ := strings.Cut(model, "-")
		number, err := strconv.Atoi(digits)
		s.must(err)
		before, known := last[client]
		switch {
		case known && number <= before.number:
			s.t.Fatalf("%s: its start is recorded behind that of the client's request %d", model, before.number)
		case known && !before.ended:
			s.t.Fatalf("%s: its start is recorded, and the end of the client's request %d before it is not", model, before.number)
		}
		last[client] = latest{number, ended}
	}
	s.must(rows.Err())
	return cut
}

// countEnds returns how many ends are stored.
func (s *stage) countEnds() (n int) {
	s.t.Helper()
	s.must(s.db.Reader.QueryRowContext(s.ctx, `SELECT count(ended_at) FROM interceptions`).Scan(&n))
	return n
}

// strays returns complaints about stored rows that belong to no interception.
func (s *stage) strays() []string {
	s.t.Helper()
	var complaints []string
	var unstarted int
	s.must(s.db.Reader.QueryRowContext(s.ctx, `SELECT count(*) FROM interceptions WHERE NOT started`).Scan(&unstarted))
	if unstarted > 0 {
		complaints = append(complaints, fmt.Sprintf("%d interceptions have records and no start", unstarted))
	}
	for _, table := range []string{"prompt_usages", "token_usages", "tool_usages", "model_thoughts"} {
		var n int
		query := `SELECT count(*) FROM ` + table + ` WHERE interception_id NOT IN (SELECT id FROM interceptions)`
		s.must(s.db.Reader.QueryRowContext(s.ctx, query).Scan(&n))
		if n > 0 {
			complaints = append(complaints, fmt.Sprintf("%s: %d rows are of no interception", table, n))
		}
	}
	return complaints
}

// setAside returns complaints about records that a queue has set aside.
func (s *stage) setAside(records string) (complaints []string) {
	s.t.Helper()
	for _, name := range []string{"dead", "damaged", "retry"} {
		found, err := os.ReadDir(filepath.Join(records, name))
		s.must(err)
		if len(found) > 0 {
			complaints = append(complaints, fmt.Sprintf("the queue has %d files in %s", len(found), filepath.Join(records, name)))
		}
	}
	return complaints
}

// lock keeps every other process from writing to the database for length, or until ctx ends.
func (s *stage) lock(ctx context.Context, length time.Duration) error {
	tx, err := s.db.Writer.BeginTx(ctx, nil) // It holds the writer's lock from its beginning.
	if err != nil {
		return fmt.Errorf("lock the database: %w", err)
	}
	pause(ctx, length)
	_ = tx.Rollback() // Where ctx has ended, the rollback has happened already.
	return nil
}
