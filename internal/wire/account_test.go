package wire

import (
	"fmt"
	"testing"
)

func TestEncryptedIn(t *testing.T) {
	for text, want := range map[string]string{
		`{"encrypted_content":"a","b":[{"encrypted_content" : "b=="}]}`: "[b== a]",
		`{"encrypted_content":null,"x":{"encrypted_content":""}}`:       "[]",
		`{"text":"a quoted \\"encrypted_content\\":\\"x\\" is none"}`:   "[]",
		`{"encrypted_content":"a\/\u0062"}`:                             "[a/b]",
		`{"encrypted_content":"cut`:                                     "[]",
		`{"encrypted_content"`:                                          "[]",
		`{"a":"encrypted_content"}`:                                     "[]",
		"{\"encrypted_content\":\n\t\"a\"}":                             "[a]",
	} {
		got := []string{}
		for value := range EncryptedIn([]byte(text)) {
			got = append(got, string(value))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %q, want %s", text, got, want)
		}
	}
}

func TestIDsOfAnswers(t *testing.T) {
	for text, want := range map[string]string{
		`{"id":"chatcmpl-1"}`: "[chatcmpl-1]", `{"type":"response.created","response":{"id":"resp_1","output":[{"id":"x"}]}}`: "[resp_1]",
		`{"message":{"id":"msg_1","thread":{"id":"t"}}}`: "[msg_1 t]", `{"id":7}`: "[]", `not JSON`: "[]",
	} {
		if got := fmt.Sprint(StoredIDs([]byte(text))); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	const whole = `{"object":"conversation","metadata":{"id":"inner"},"id":"conv_1","created_at":1}`
	for n := range whole {
		if got := BeginningID([]byte(whole[:n])); got != "" && got != "conv_1" {
			t.Errorf("%s: %q", whole[:n], got)
		}
	}
	if got := BeginningID([]byte(whole)); got != "conv_1" {
		t.Error(got)
	}
	if got := fmt.Sprint(ItemReferences([]byte(`[{"type":"item_reference","id":"a"},{"type":"message","id":"b"},{"id":"c","type":"item_reference"},7]`))); got != "[a c]" {
		t.Error(got)
	}
}
