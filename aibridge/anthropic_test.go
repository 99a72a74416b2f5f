package aibridge

import (
	"net/http"
	"strings"
	"testing"
)

// TestAnthropicKey checks that the prefix of a key decides which header carries it.
func TestAnthropicKey(t *testing.T) {
	for key, want := range map[string]string{"sk-ant-api03-x": "X-Api-Key", "sk-ant-oat01-x": "Authorization"} {
		header := http.Header{}
		setAnthropicKey(header, Key{Secret: key})
		if len(header) != 1 || !strings.HasSuffix(header.Get(want), key) {
			t.Errorf("%s: %v", key, header)
		}
	}
}
