package wire

import (
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

func TestReadBounds(t *testing.T) {
	for body, want := range map[string]Bounds{
		`{}`:                    {},
		`{"a":5}`:               {MaxTokens: 5},
		`{"a":5,"b":7}`:         {MaxTokens: 7},
		`{"a":7.5e1,"b":null}`:  {MaxTokens: 75},
		`{"a":"7","b":-3}`:      {},
		`{"a":1e300,"n":1e300}`: {MaxTokens: mostNumber, Answers: mostNumber},
		`{"n":3,"service_tier":"priority","speed":"fast","inference_geo":"us"}`: {Answers: 3, ServiceTier: "priority", Speed: "fast", InferenceGeo: "us"},
		`{"service_tier":7,"n":[1]}`: {},
	} {
		object, err := jsonedit.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		got := ReadBounds(object, "a", "b")
		got.ReadAnswers(object, "n")
		if got != want {
			t.Errorf("%s: %+v, want %+v", body, got, want)
		}
	}
}
