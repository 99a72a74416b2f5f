package aibridgedserver

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/coder/aibridged/proto"
)

// fixedChanges reports no changes.
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

// The cache does not remember an answer that was read before it was emptied: the answer may be older than the change.
func TestKeyCacheRefusesWhatIsOlder(t *testing.T) {
	c := newKeyCache(fixedChanges{})
	_, epoch := c.get(t.Context(), numberedKey(1))
	c.forgetAll()
	c.put(numberedKey(1), knownKey{answer: &proto.IsAuthorizedResponse{}}, epoch)
	if answer, _ := c.get(t.Context(), numberedKey(1)); answer != nil {
		t.Error("it is remembered")
	}
}
