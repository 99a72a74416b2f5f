package aibridgedserver_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// keep keeps a turn for an hour from now, or until an hour ago.
func (c controlPlane) keep(tb testing.TB, user string, turn []byte, hours int, keys ...string) {
	tb.Helper()
	_, err := c.KeepTurn(tb.Context(), &proto.KeepTurnRequest{
		UserId: user, Keys: keys, Turn: turn, ExpiresAt: timestamppb.New(time.Now().Add(time.Duration(hours) * time.Hour)),
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// found returns what FindTurns answers, as texts, and whether there is more.
func (c controlPlane) found(tb testing.TB, user string, keys ...string) (turns map[string]string, more bool) {
	tb.Helper()
	answer, err := c.FindTurns(tb.Context(), &proto.FindTurnsRequest{UserId: user, Keys: keys})
	if err != nil {
		tb.Fatal(err)
	}
	turns = map[string]string{}
	for key, turn := range answer.GetTurns() {
		turns[key] = string(turn)
	}
	return turns, answer.GetMore()
}

func TestTurnsAreFoundByTheirUserOnAnyServer(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	elsewhere := openControlPlane(t, c.path, aibridgedserver.Options{})
	ada, bob := newID(), newID()
	c.keep(t, ada, []byte("first"), 1, "a", "b")
	c.keep(t, bob, []byte("bob's"), 1, "a")
	for _, test := range []struct {
		user string
		keys []string
		want map[string]string
	}{
		{ada, []string{"a", "b", "c", "a", ""}, map[string]string{"a": "first", "b": "first"}},
		{bob, []string{"a", "b"}, map[string]string{"a": "bob's"}},
		{newID(), []string{"a"}, map[string]string{}},
		{ada, nil, map[string]string{}},
	} {
		for range 2 { // To find a turn takes nothing from it.
			if got, more := elsewhere.found(t, test.user, test.keys...); !maps.Equal(got, test.want) || more {
				t.Errorf("%v: %v, more: %v", test.keys, got, more)
			}
		}
	}

	elsewhere.keep(t, ada, []byte("second"), 1, "b", "c")
	want := map[string]string{"a": "first", "b": "second", "c": "second"}
	if got, _ := c.found(t, ada, "a", "b", "c"); !maps.Equal(got, want) {
		t.Errorf("after one key was taken over: %v", got)
	}
	elsewhere.keep(t, ada, []byte("third"), 1, "a")
	if n := c.number(t, `SELECT count(*) FROM kept_turns WHERE user_id = $1`, ada); n != 2 {
		t.Errorf("%d turns are there after the first one has lost its keys", n)
	}
}

func TestTurnsExpire(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ada, bob := newID(), newID()
	for i := range 40 {
		c.keep(t, bob, []byte("old"), -1, fmt.Sprint("o", i))
	}
	c.keep(t, ada, []byte("old"), -1, "a")
	c.keep(t, ada, []byte("new"), 1, "b")
	if got, _ := c.found(t, ada, "a", "b"); !maps.Equal(got, map[string]string{"b": "new"}) {
		t.Errorf("found %v", got)
	}
	if n := c.number(t, `SELECT count(*) FROM kept_turns`); n > 2 {
		t.Errorf("%d turns are there: each turn that is kept should have pruned others", n)
	}
	c.keep(t, ada, []byte("for ever"), 24*365, "c")
	for range 40 {
		c.keep(t, bob, []byte("old"), -1, "z")
	}
	if err := c.PruneTurns(t.Context()); err != nil {
		t.Fatal(err)
	}
	if turns, keys := c.number(t, `SELECT count(*) FROM kept_turns`), c.number(t, `SELECT count(*) FROM kept_turn_keys`); turns != 2 || keys != 2 {
		t.Errorf("%d turns and %d keys are left", turns, keys)
	}
	latest := time.Now().Add(31 * 24 * time.Hour).UnixMicro()
	if n := c.number(t, `SELECT count(*) FROM kept_turns WHERE expires_at > $1`, latest); n != 0 {
		t.Error("a turn is kept for more than a month")
	}
}

func TestTheOldestTurnsGo(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ada, bob := newID(), newID()
	c.keep(t, bob, []byte("bob's"), 1, "k0")
	turn := bytes.Repeat([]byte("x"), 1<<20)
	for i := range 66 {
		c.keep(t, ada, turn, 1, fmt.Sprint("k", i))
	}
	if n := c.number(t, `SELECT sum(length(turn)) FROM kept_turns WHERE user_id = $1`, ada); n != 64<<20 {
		t.Errorf("ada's turns have %d bytes", n)
	}
	got, more := c.found(t, ada, "k1", "k2", "k65")
	if len(got) != 2 || got["k65"] == "" || got["k2"] == "" || more {
		t.Errorf("found %v", slices.Sorted(maps.Keys(got)))
	}
	if got, _ := c.found(t, bob, "k0"); got["k0"] != "bob's" {
		t.Error("another user's turn is gone")
	}

	keys := make([]string, 256)
	for i := range 42 {
		for j := range keys {
			keys[j] = fmt.Sprint(i, "-", j)
		}
		c.keep(t, bob, []byte("many"), 1, keys...)
	}
	if n := c.number(t, `SELECT count(*) FROM kept_turn_keys WHERE user_id = $1`, bob); n > 10_000 || n < 9_700 {
		t.Errorf("bob has %d keys", n)
	}
	if got, _ := c.found(t, bob, "k0", "0-0", "41-255"); !maps.Equal(got, map[string]string{"41-255": "many"}) {
		t.Errorf("found %v", got)
	}
}

// A message of more than 4 MiB would end the connection.
func TestManyTurnsAreFoundInSeveralAnswers(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	ada := newID()
	turn := bytes.Repeat([]byte("x"), 1<<20)
	c.keep(t, ada, turn, 1, "a", "b")
	c.keep(t, ada, turn, 1, "c", "d")
	got, more := c.found(t, ada, "a", "b", "c", "d")
	if len(got) != 3 || !more {
		t.Errorf("found %d turns, more: %v", len(got), more)
	}
	if got, more := c.found(t, ada, "d"); len(got) != 1 || more {
		t.Errorf("the rest: %d turns, more: %v", len(got), more)
	}
}

func TestTurnsThatAreRefused(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	long, many := string(bytes.Repeat([]byte("k"), 513)), make([]string, 257)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	soon := timestamppb.New(time.Now().Add(time.Hour))
	ada := newID()
	for name, in := range map[string]*proto.KeepTurnRequest{
		"no user":     {Keys: []string{"a"}, Turn: []byte("x"), ExpiresAt: soon},
		"no UUID":     {UserId: "ada", Keys: []string{"a"}, Turn: []byte("x"), ExpiresAt: soon},
		"no keys":     {UserId: ada, Turn: []byte("x"), ExpiresAt: soon},
		"empty key":   {UserId: ada, Keys: []string{"a", ""}, Turn: []byte("x"), ExpiresAt: soon},
		"long key":    {UserId: ada, Keys: []string{long}, Turn: []byte("x"), ExpiresAt: soon},
		"many keys":   {UserId: ada, Keys: many, Turn: []byte("x"), ExpiresAt: soon},
		"no turn":     {UserId: ada, Keys: []string{"a"}, ExpiresAt: soon},
		"large turn":  {UserId: ada, Keys: []string{"a"}, Turn: make([]byte, 3<<20+1), ExpiresAt: soon},
		"no expiry":   {UserId: ada, Keys: []string{"a"}, Turn: []byte("x")},
		"odd expiry":  {UserId: ada, Keys: []string{"a"}, Turn: []byte("x"), ExpiresAt: &timestamppb.Timestamp{Nanos: -1}},
		"year 100000": {UserId: ada, Keys: []string{"a"}, Turn: []byte("x"), ExpiresAt: &timestamppb.Timestamp{Seconds: 1 << 50}},
	} {
		if _, err := c.KeepTurn(t.Context(), in); err == nil {
			t.Errorf("%s: it is kept", name)
		}
	}
	if _, err := c.FindTurns(t.Context(), &proto.FindTurnsRequest{UserId: "ada", Keys: []string{"a"}}); err == nil {
		t.Error("a user who is no UUID is asked for")
	}
	if _, err := c.FindTurns(t.Context(), &proto.FindTurnsRequest{UserId: ada, Keys: make([]string, 1001)}); err == nil {
		t.Error("more than a thousand keys are asked for")
	}
	if n := c.number(t, `SELECT count(*) FROM kept_turns`); n != 0 {
		t.Errorf("%d turns are kept", n)
	}
}
