package aibridge

import (
	"testing"

	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/wire"
)

// TestRawUsage has what the metadata of a token usage says of the upstream's own usage object: it may hold neither a
// credential of the request nor what no store takes.
func TestRawUsage(t *testing.T) {
	const key = "sk-of-a-provider-0123456789"
	hide := secrets{key: key}
	for name, test := range map[string]struct {
		usage wire.Usage
		want  Metadata
	}{
		"none":         {wire.Usage{}, Metadata{}},
		"plain":        {wire.Usage{Raw: `{"a":1}`}, Metadata{"raw": `{"a":1}`}},
		"omitted":      {wire.Usage{RawOmitted: true}, Metadata{"raw_omitted": true}},
		"not storable": {wire.Usage{Raw: "{\"a\":\"\xff\"}"}, Metadata{"raw": "{\"a\":\"\uFFFD\"}", "sanitized": true}},
		"a credential": {wire.Usage{Raw: `{"a":"` + key + `"}`}, Metadata{"raw": `{"a":"` + credential.Hint(key) + `"}`, "credential_redacted": true}},
	} {
		seen := wire.Answer{Usage: &test.usage}
		got := usageMetadata(seen, &round{ended: true, seen: &seen}, &naming{}, hide)
		if len(got) != len(test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
		for member, value := range test.want {
			if got[member] != value {
				t.Errorf("%s: %s is %v, want %v", name, member, got[member], value)
			}
		}
	}
}
