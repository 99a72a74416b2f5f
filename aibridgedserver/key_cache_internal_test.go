package aibridgedserver

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/coder/aibridged/proto"
)

// fixedChanges never change.
type fixedChanges struct{ Changes }

func (fixedChanges) Number(context.Context) (uint64, error) { return 1, nil }

// numberedKey returns the nth key.
func numberedKey(n int) (key presentedKey) {
	binary.LittleEndian.PutUint64(key.sha256[:], uint64(n))
	return key
}

func TestKeyCacheIsBounded(t *testing.T) {
	c := newKeyCache(fixedChanges{})
	first := numberedKey(0)
	for n := range 3 * rememberedKeys {
		_, epoch := c.get(t.Context(), numberedKey(n))
		c.put(numberedKey(n), knownKey{answer: &proto.IsAuthorizedResponse{}}, epoch)
		if answer, _ := c.get(t.Context(), first); answer == nil {
			t.Fatalf("the key that is used most is gone with %d others", n)
		}
	}
	if n := c.keys.Len(); n != rememberedKeys {
		t.Errorf("%d keys are remembered", n)
	}
	if answer, _ := c.get(t.Context(), numberedKey(1)); answer != nil {
		t.Error("the oldest key is remembered")
	}
}

// An answer that was on its way when all was forgotten is not remembered: it may be what was to be forgotten.
func TestKeyCacheRefusesWhatIsOlder(t *testing.T) {
	c := newKeyCache(fixedChanges{})
	_, epoch := c.get(t.Context(), numberedKey(1))
	c.forgetAll()
	c.put(numberedKey(1), knownKey{answer: &proto.IsAuthorizedResponse{}}, epoch)
	if answer, _ := c.get(t.Context(), numberedKey(1)); answer != nil {
		t.Error("it is remembered")
	}
}
