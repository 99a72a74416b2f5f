package aibridgedserver_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// turns returns the rows of kept turns.
func (c controlPlane) turns(t *testing.T) (rows [][]byte) {
	t.Helper()
	for row, err := range c.ExportTurns(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// Turns move with their keys, but for those that have expired, and so often as one likes.
func TestTurnsMove(t *testing.T) {
	t.Parallel()
	from, to := newControlPlane(t), newControlPlane(t)
	ada, bob := newID(), newID()
	from.keep(t, ada, []byte("expired"), -1, "x")
	const many = 20 // More than a page.
	want := map[string]string{"b é \u2028": "two keys\x00\xff", "c": "two keys\x00\xff"}
	from.keep(t, ada, []byte("before"), 1, "a", "b é \u2028")
	from.keep(t, ada, []byte("two keys\x00\xff"), 2, "b é \u2028", "c")
	want["a"] = "before"
	for n := range many {
		key := fmt.Sprint("k", n)
		from.keep(t, ada, []byte(key), 1, key)
		want[key] = key
	}
	from.keep(t, bob, []byte("bob's"), 1, "a")
	rows := from.turns(t)
	if len(rows) != many+3 {
		t.Fatalf("%d rows", len(rows))
	}
	to.mustImport(t, append(from.exported(t), rows...))
	keys := []string{"x", "a", "b é \u2028", "c"}
	for n := range many {
		keys = append(keys, fmt.Sprint("k", n))
	}
	if got, more := to.found(t, ada, keys...); !maps.Equal(got, want) || more {
		t.Errorf("found %q, want %q", got, want)
	}
	if got, _ := to.found(t, bob, "a", "c"); !maps.Equal(got, map[string]string{"a": "bob's"}) {
		t.Errorf("bob's: %q", got)
	}
	if again := to.turns(t); digest(again) != digest(rows) {
		t.Errorf("%d rows come back of %d", len(again), len(rows))
	}
	// The same once more changes nothing, and neither takes the key of a newer turn.
	to.keep(t, bob, []byte("newer"), 5, "a")
	to.mustImport(t, rows)
	if n := to.number(t, `SELECT count(*) FROM kept_turns`); n != len(rows) {
		t.Errorf("%d turns, want %d", n, len(rows))
	}
	if got, _ := to.found(t, bob, "a"); got["a"] != "newer" {
		t.Errorf("bob's: %q", got)
	}
	// An older turn here gives its key to a newer one.
	from.keep(t, bob, []byte("newest"), 9, "a")
	to.mustImport(t, from.turns(t))
	if got, _ := to.found(t, bob, "a"); got["a"] != "newest" {
		t.Errorf("bob's: %q", got)
	}
}

// A turn of an export keeps to the limits of every turn.
func TestImportRefusesTurns(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	good := `{"table":"kept_turns","user_id":"019ab000-0000-7000-8000-000000000001","expires_at":"2999-01-02T03:04:05.000000Z","keys":["k"],"turn":"eA=="}`
	c.mustImport(t, [][]byte{[]byte(good)})
	if n := c.number(t, `SELECT count(*) FROM kept_turns`); n != 1 {
		t.Errorf("%d turns", n)
	}
	for text, want := range map[string]string{
		strings.Replace(good, `["k"]`, `[]`, 1):      "0 keys",
		strings.Replace(good, `["k"]`, `[""]`, 1):    "a key of 0 bytes",
		strings.Replace(good, `["k"]`, `[1]`, 1):     "key of a kept turn",
		strings.Replace(good, `"eA=="`, `""`, 1):     "a turn of 0 bytes",
		strings.Replace(good, `"eA=="`, `"?"`, 1):    "kept turn",
		strings.Replace(good, `019ab000-`, `1-`, 1):  "user_id",
		strings.Replace(good, `2999-01-02T`, ``, 1):  "expires_at of a kept turn",
		strings.Replace(good, `{"table"`, `{"t`, 1):  "no JSON",
		strings.Replace(good, `"turn"`, `"trn"`, -1): "a turn of 0 bytes",
	} {
		if _, err := c.Import(t.Context(), eachRow([][]byte{[]byte(text)})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
