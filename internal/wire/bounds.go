package wire

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/storable"
)

// Bounds is what a request says that bounds what its answer may cost. The zero Bounds is of a request that says nothing.
type Bounds struct {
	// MaxTokens is how many tokens one answer may have. Zero: the request does not say.
	MaxTokens int64
	// Answers is how many answers there are to be. Zero: the request does not say, so it is one.
	Answers int64
	// Wordless says that the answer has no tokens, as with embeddings.
	Wordless bool
	// ServiceTier, Speed and InferenceGeo are how the request wants to be served. Empty: it does not say.
	ServiceTier, Speed, InferenceGeo string
}

// longestWish is how many bytes are kept of how a request wants to be served.
const longestWish = 64

// ReadBounds reads the members that bound an answer. Names are those of the members that have the largest number of tokens: the
// largest one counts. What is no number counts as not there: the upstream refuses it.
func ReadBounds(body jsonedit.Object, names ...string) Bounds {
	b := Bounds{ServiceTier: wish(body, "service_tier"), Speed: wish(body, "speed"), InferenceGeo: wish(body, "inference_geo")}
	for _, name := range names {
		b.MaxTokens = max(b.MaxTokens, number(body, name))
	}
	return b
}

// ReadAnswers reads a member that says how many answers there are to be.
func (b *Bounds) ReadAnswers(body jsonedit.Object, name string) { b.Answers = number(body, name) }

func wish(body jsonedit.Object, name string) string {
	return strings.Clone(storable.Cut(member(body, name), longestWish))
}

// mostNumber is the largest number that is believed.
const mostNumber = 1 << 40

// number returns a member of body that is a number above 0, or 0.
func number(body jsonedit.Object, name string) int64 {
	raw, ok := body.Get(name)
	if !ok {
		return 0
	}
	value := View(raw)
	if value.Type != gjson.Number || !(value.Num > 0) {
		return 0
	}
	return int64(min(value.Num, mostNumber))
}
