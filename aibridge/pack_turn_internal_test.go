package aibridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// oneTurn is a store of one turn, which takes none that is too large.
type oneTurn struct{ kept KeptTurn }

func (s *oneTurn) Keep(_ context.Context, turn KeptTurn) error {
	if len(turn.Turn) > largestStored {
		return errors.New("too large")
	}
	s.kept = turn
	return nil
}

func (s *oneTurn) Find(_ context.Context, _ string, keys []string) (map[string][]byte, error) {
	return map[string][]byte{keys[0]: s.kept.Turn}, nil
}

// TestLargeTurns keeps turns of all sizes, and finds them at another gateway: one that is too large for that is said to be.
func TestLargeTurns(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 4<<20)
	for i := range noise {
		noise[i] = "0123456789abcdef"[random.IntN(16)]
	}
	for name, test := range map[string]struct {
		turn string
		lost bool
	}{
		"small":               {`{"last":"a"}`, false},
		"at the border":       {fmt.Sprintf(`{"last":%q}`, strings.Repeat("a", smallTurn-11)), false},
		"over it":             {fmt.Sprintf(`{"last":%q}`, strings.Repeat("a", smallTurn-10)), false},
		"a result of 1 MB":    {fmt.Sprintf(`{"last":%q}`, noise[:4<<20/3]), false},
		"twelve of 1 MB":      {fmt.Sprintf(`{"last":%q}`, bytes.Repeat(noise[:1000], 15_000)), false},
		"too large for it":    {fmt.Sprintf(`{"rounds":[{"seen":1,"around":%q}]}`, append(noise, bytes.Repeat(noise, 2)...)), true},
		"too large to unpack": {fmt.Sprintf(`{"rounds":[{"seen":1,"around":%q}]}`, strings.Repeat("a", largestTurn)), true},
	} {
		t.Run(name, func(t *testing.T) {
			store := &oneTurn{}
			err := NewConversations(store).keep(t.Context(), 1, KeptTurn{InitiatorID: "ada", Keys: []string{"k"}, Turn: []byte(test.turn)})
			if (err != nil) != test.lost {
				t.Fatalf("keeping: %v", err)
			}
			found, err := NewConversations(store).find(t.Context(), 1, "ada", []string{"k"})
			if err != nil || (string(found["k"]) == test.turn) == test.lost {
				t.Errorf("found %d bytes of %d, %v", len(found["k"]), len(test.turn), err)
			}
		})
	}
}

// FuzzPackTurn stores any bytes and reads them again. Nothing that a store may hold makes a turn larger than one can be.
func FuzzPackTurn(f *testing.F) {
	f.Add([]byte("{}"))
	f.Add(bytes.Repeat([]byte("a"), 2*smallTurn))
	f.Add(packTurn(bytes.Repeat([]byte("a"), 2*smallTurn)))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) { // No turn begins so, but a stored one does.
			if turn, err := unpackTurn(data); err == nil && len(turn) > largestTurn {
				t.Errorf("%d bytes", len(turn))
			}
			return
		}
		if again, err := unpackTurn(packTurn(data)); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%d bytes became %d: %v", len(data), len(again), err)
		}
	})
}
