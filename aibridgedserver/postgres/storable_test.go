package postgres

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// Any text comes back as it was, and PostgreSQL can hold what stands for it.
func FuzzStorable(f *testing.F) {
	for _, seed := range []string{"", "hello", "a\x00b", "\xff", "\x1a", "\x1a\\00", `\`, "\x1a\\", "é\xc3", "\x00\\x00", "�"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		stored := storable(text)
		if !utf8.ValidString(stored) || strings.Contains(stored, "\x00") {
			t.Errorf("%q is stored as %q", text, stored)
		}
		if got := original(stored); got != text {
			t.Errorf("%q came back as %q", text, got)
		}
		if utf8.ValidString(text) && !strings.ContainsAny(text, "\x00\x1a") && stored != text {
			t.Errorf("%q is stored as %q", text, stored)
		}
		_ = original(stored[:len(stored)/2]) // A beginning does not panic: lists cut prompts.
	})
}

// Any JSON comes back with the same meaning, and what stands for it is JSON that jsonb takes.
func FuzzStorableJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":"\u0000"}`, `{"a":-0}`, `[-0]`, `{"a":"\ufffd"}`, `{"a":{"b":[1,2.5,1e300]}}`, `"\u001ax"`, `{"b":1,"a":"<\u2028>"}`,
		`{"a":` + strings.Repeat("[", 1500) + strings.Repeat("]", 1500) + `}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want any
		if !utf8.ValidString(text) || json.Unmarshal([]byte(text), &want) != nil {
			return
		}
		stored := storableJSON(text)
		if !json.Valid([]byte(stored)) || strings.Contains(stored, `\u0000`) {
			t.Errorf("%s is stored as %s", text, stored)
		}
		if s, ok := want.(string); ok && strings.HasPrefix(s, escaped) {
			return // Metadata is an object.
		}
		back, err := originalJSON([]byte(stored))
		var got any
		if err == nil {
			err = json.Unmarshal(back, &got)
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s came back as %s, %v", text, back, err)
		}
	})
}

func TestMonthOf(t *testing.T) {
	for m := monthAt(month(12 * 1970).begin()); m < 12*2100; m++ {
		first, last := m.first(), (m + 1).first()
		first[6], last[6] = 0x70, 0x70
		if got, ok := monthOf(first[:]); !ok || got != m {
			t.Fatalf("the first id of %s is of %s", m, got)
		}
		for i := 5; i >= 0; i-- { // The id before.
			last[i]--
			if last[i] != 0xff {
				break
			}
		}
		if got, ok := monthOf(last[:]); !ok || got != m {
			t.Fatalf("the last id of %s is of %s", m, got)
		}
		if got, err := parseMonth(m.partition("x")); err != nil || got != m {
			t.Fatalf("%s is read as %s, %v", m.partition("x"), got, err)
		}
	}
	for _, id := range [][]byte{nil, make([]byte, 15), make([]byte, 16)} {
		if m, ok := monthOf(id); ok {
			t.Errorf("%x is of %s", id, m)
		}
	}
}
