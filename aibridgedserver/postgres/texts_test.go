package postgres_test

import "testing"

// Any text can be bound, alone or in an array, and is then the same to the server.
func TestAnyTextIsBound(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	for _, text := range []string{"", "usual", "a\x00b", "\xff\xfe", "\x1a", "\x1a\\00", `\`} {
		var alone string
		var same bool
		err := c.db.Reader.QueryRowContext(t.Context(), `SELECT $1::text, $1::text = ($2::text[])[1]`, text, []string{text}).Scan(&alone, &same)
		if err != nil || alone != text || !same {
			t.Errorf("%q: %q, %t, %v", text, alone, same, err)
		}
	}
}
