package prices

import (
	"math"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// rawUsage is what an upstream's own usage object says that is in no figure of the record.
type rawUsage struct {
	// unreadable are the kinds in whose place stands something that is no number.
	unreadable []Kind
	// tellsTokens says that a member counts tokens.
	tellsTokens bool
	// calls counts what tools were called that the upstream ran.
	calls map[Kind]int64
	// queries is how many searches were made of which the model decides whether they have a price of their own.
	queries int64
}

// hostedPlaces returns the members of a usage object that count the calls of hosted tools, each by its name.
func hostedPlaces() [4]string {
	return [...]string{"server_tool_use", "server_tool_use_details", "server_side_tool_usage_details", "tool_usage"}
}

// readRaw reads an upstream's own usage object.
func readRaw(text string) rawUsage {
	found := rawUsage{calls: map[Kind]int64{}}
	if text == "" || !gjson.Valid(text) {
		return found
	}
	usage := gjson.Parse(text)
	found.readTokens(usage, 0)
	for _, place := range hostedPlaces() {
		usage.Get(place).ForEach(func(name, value gjson.Result) bool {
			kind := countedKind(name.Str)
			if kind == "" || value.Type == gjson.Null || value.IsObject() {
				return true
			}
			if n, ok := whole(value); ok {
				found.calls[kind] = max(found.calls[kind], n)
			} else {
				found.cannotRead(kind)
			}
			return true
		})
	}
	if n, ok := whole(usage.Get("num_sources_used")); ok && n > 0 {
		found.calls[HostedTool] = max(found.calls[HostedTool], n)
	}
	found.queries, _ = whole(usage.Get("num_search_queries"))
	return found
}

// deepest bounds how deep a usage object is read.
const deepest = 4

// readTokens notes which members that count tokens hold something else.
func (r *rawUsage) readTokens(object gjson.Result, depth int) {
	if depth == deepest || !object.IsObject() {
		return
	}
	object.ForEach(func(name, value gjson.Result) bool {
		switch {
		case value.IsObject():
			r.readTokens(value, depth+1)
		case strings.HasSuffix(name.Str, "_tokens") && value.Type != gjson.Null:
			r.tellsTokens = true
			if _, ok := whole(value); !ok {
				r.cannotRead(tokenKind(name.Str))
			}
		}
		return true
	})
}

// cannotRead notes that what is told of a kind is no number.
func (r *rawUsage) cannotRead(kind Kind) {
	if !slices.Contains(r.unreadable, kind) {
		r.unreadable = append(r.unreadable, kind)
	}
}

// tokenKind returns the kind of the tokens that a member counts, by its name.
func tokenKind(name string) Kind {
	for _, part := range []string{"output", "completion", "reasoning", "thinking", "prediction"} {
		if strings.Contains(name, part) {
			return Output
		}
	}
	if strings.Contains(name, "cach") {
		return CacheRead
	}
	return Input
}

// whole returns a whole number from 0, also one that is written with a fraction, as an exponent or as a text.
func whole(value gjson.Result) (int64, bool) {
	const exact = 1 << 53 // Up to here a float64 holds every whole number.
	var n float64
	switch value.Type {
	case gjson.Number:
		n = value.Num
	case gjson.String:
		number := gjson.Parse(value.Str)
		if n = number.Num; number.Type != gjson.Number || !gjson.Valid(value.Str) {
			return 0, false
		}
	default:
		return 0, false
	}
	if n < 0 || n != math.Trunc(n) || n > math.MaxInt64 {
		return 0, false
	}
	if n <= exact {
		return int64(n), true
	}
	return max(value.Int(), exact), true
}
