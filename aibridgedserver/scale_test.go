package aibridgedserver_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
)

var scale = flag.Int("scale", 0, "how many interceptions the database of TestScale has; 0 skips it")

// TestScale fills a database with as many interceptions as the flag says, each with a prompt and a token usage, and
// logs how long reports take. Ten million need 12 GB in the directory for temporary files.
//
//	go test ./aibridgedserver -run TestScale -v -timeout 2h -scale 10000000
//
// With -postgres and -durable it is about PostgreSQL.
func TestScale(t *testing.T) {
	if *scale == 0 {
		t.Skip("no -scale")
	}
	path := filepath.Join(t.TempDir(), "control.db")
	c := openControlPlane(t, path, aibridgedserver.Options{})
	_, alice := c.token(t, "alice")
	fill(t, c, alice.UserID)
	newest := c.report(t, aibridgedserver.InterceptionFilter{Limit: 1})
	last := newest[0].StartedAt
	for _, test := range []struct {
		name   string
		filter aibridgedserver.InterceptionFilter
		want   int
	}{
		{"newest 100", aibridgedserver.InterceptionFilter{Limit: 100}, 100},
		{"newest 10,000", aibridgedserver.InterceptionFilter{Limit: 10_000}, 10_000},
		{"a user's newest 100", aibridgedserver.InterceptionFilter{Username: "alice", Limit: 100}, 100},
		{"nobody's newest 100", aibridgedserver.InterceptionFilter{Username: "bob", Limit: 100}, 0},
		{"one id", aibridgedserver.InterceptionFilter{ID: newest[0].ID}, 1},
		{"since 1h", aibridgedserver.InterceptionFilter{Since: last.Add(-time.Hour)}, 3601},
		{"ended since 1h", aibridgedserver.InterceptionFilter{EndedSince: last.Add(-time.Hour)}, 3604},
		{"ended since 1h, newest 100", aibridgedserver.InterceptionFilter{EndedSince: last.Add(-time.Hour), Limit: 100}, 100},
	} {
		for _, try := range []string{"first", "again"} {
			began := time.Now()
			got := len(c.report(t, test.filter))
			t.Logf("%-28s %-5s %6d interceptions in %v", test.name, try, got, time.Since(began).Round(10*time.Microsecond))
			if got != test.want {
				t.Errorf("%s: %d interceptions, want %d", test.name, got, test.want)
			}
		}
	}
	measurePrune(t, c)
}

// fill stores interceptions that start a second apart and last two seconds; one of a thousand is alice's. One of ten
// thousand lasts an hour: if their number is a multiple of ten thousand, one of these ended within the last hour and
// started before it.
func fill(t *testing.T, c controlPlane, alice string) {
	t.Helper()
	if engine.Postgres() {
		fillPostgres(t, c, alice)
		return
	}
	began := time.Now()
	for _, statement := range []string{
		// The ids are like UUIDs of version 7: six bytes of milliseconds, then bytes that make them distinct.
		`CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1)
			SELECT i, unhex(printf('%012x', 1700000000000 + i * 1000) || '7000800000000000' || printf('%04x', i % 65536)) AS id,
			(1700000000 + i) * 1000000 AS at FROM n`,
		`INSERT INTO interceptions (id, started, started_at, initiator_id, api_key_id, provider, provider_name, model, client,
			user_agent, credential_kind, credential_hint, request_bytes, request_sha256, metadata, ended_at, response_bytes,
			response_sha256)
			SELECT id, 1, at, iif(i % 1000 = 0, unhex(replace($1, '-', '')), unhex(printf('%032x', i % 500))), 'abcdefghij',
			'anthropic', 'main', 'claude-opus-4-5', 'Claude Code', 'claude-cli/2.1.330 (external, cli)', 'centralized',
			'sk-a...wxyz', 1024, randomblob(32), '{"Username":"alice"}', at + iif(i % 10000 = 5000, 3600, 2) * 1000000, 2048,
			randomblob(32) FROM n ORDER BY i`,
		`INSERT INTO prompt_usages SELECT id, id, at, 'msg_1', '{}', printf('%.200c', 'x') FROM n ORDER BY i`,
		`INSERT INTO token_usages SELECT id, id, at, 'msg_1', 100, 7, 5, 3, '{"model":"claude-opus-4-5"}' FROM n ORDER BY i`,
		`DROP TABLE n`,
	} {
		var args []any
		switch {
		case strings.HasPrefix(statement, "CREATE"):
			args = []any{*scale}
		case strings.HasPrefix(statement, "INSERT INTO interceptions"):
			args = []any{alice}
		}
		if _, err := c.db.Writer.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("filled in %v: %d MB", time.Since(began).Round(time.Second), c.number(t, `SELECT page_count * page_size / 1000000 FROM
		pragma_page_count, pragma_page_size`))
}

// fillPostgres is fill for PostgreSQL, with a partition for each month.
func fillPostgres(t *testing.T, c controlPlane, alice string) {
	t.Helper()
	began := time.Now()
	first, last := time.Unix(1700000000, 0).UTC(), time.Unix(1700000000+int64(*scale), 0).UTC()
	for month := time.Date(first.Year(), first.Month(), 1, 0, 0, 0, 0, time.UTC); month.Before(last); month = month.AddDate(0, 1, 0) {
		for _, table := range []string{"interceptions", "prompt_usages", "token_usages", "tool_usages", "model_thoughts"} {
			c.exec(t, fmt.Sprintf(`CREATE TABLE %s_p%s PARTITION OF %s FOR VALUES FROM ('%012x00000000000000000000') TO ('%012x00000000000000000000')`,
				table, month.Format("200601"), table, month.UnixMilli(), month.AddDate(0, 1, 0).UnixMilli()))
		}
	}
	const ids = `(SELECT i, (lpad(to_hex(1700000000000 + i * 1000), 12, '0') || '7000800000000000' || lpad(to_hex(i % 65536), 4, '0'))::uuid AS id,
		to_timestamp(1700000000 + i) AS at FROM generate_series(0::bigint, $1::bigint - 1) i) n`
	c.exec(t, `INSERT INTO interceptions (id, started, started_at, initiator_id, api_key_id, provider, provider_name, model, client,
		user_agent, credential_kind, credential_hint, request_bytes, request_sha256, metadata, ended_at, response_bytes, response_sha256)
		SELECT id, TRUE, at, CASE WHEN i % 1000 = 0 THEN $2::uuid ELSE lpad(to_hex(i % 500), 32, '0')::uuid END, 'abcdefghij', 'anthropic', 'main',
		'claude-opus-4-5', 'Claude Code', 'claude-cli/2.1.330 (external, cli)', 'centralized', 'sk-a...wxyz', 1024, sha256(id::text::bytea),
		'{"Username":"alice"}', at + CASE WHEN i % 10000 = 5000 THEN interval '1 hour' ELSE interval '2 seconds' END, 2048, sha256(id::text::bytea)
		FROM `+ids, int64(*scale), alice)
	c.exec(t, `INSERT INTO prompt_usages SELECT id, id, at, 'msg_1', '{}', repeat('x', 200) FROM `+ids, int64(*scale))
	c.exec(t, `INSERT INTO token_usages SELECT id, id, at, 'msg_1', 100, 7, 5, 3, '{"model":"claude-opus-4-5"}' FROM `+ids, int64(*scale))
	c.exec(t, `ANALYZE`)
	t.Logf("filled in %v: %d MB", time.Since(began).Round(time.Second), c.number(t, `SELECT pg_database_size(current_database()) / 1000000`))
}

// measurePrune deletes a hundredth while one caller stores records, and logs how long that caller waits.
func measurePrune(t *testing.T, c controlPlane) {
	t.Helper()
	var waits []time.Duration
	done := make(chan struct{})
	stored := make(chan struct{})
	go func() {
		defer close(stored)
		for {
			began := time.Now()
			c.mustStore(t, fourRecords(t, 10)...)
			waits = append(waits, time.Since(began))
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	began := time.Now()
	deleted, err := c.Prune(t.Context(), time.Unix(1700000000+int64(*scale)/100, 0))
	took := time.Since(began)
	close(done)
	<-stored
	if err != nil || deleted != int64(*scale)/100 {
		t.Errorf("pruned %d, %v", deleted, err)
	}
	slices.Sort(waits)
	t.Logf("pruned %d in %v; %d batches stored meanwhile, p50 %v, p99 %v, longest %v", deleted, took.Round(time.Millisecond),
		len(waits), waits[len(waits)/2], waits[len(waits)*99/100], waits[len(waits)-1])
}
