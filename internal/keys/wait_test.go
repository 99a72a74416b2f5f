package keys

import (
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// clock is the time at which the answers of these tests come.
func clock() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) }

// TestWaits holds each way in which answers say how long to wait against what it means.
func TestWaits(t *testing.T) {
	unix := func(after time.Duration) string { return strconv.FormatInt(clock().Add(after).Unix(), 10) }
	for name, c := range map[string]struct {
		header http.Header
		body   string
		want   time.Duration
	}{
		"nothing":                    {},
		"seconds":                    {header: http.Header{"Retry-After": {"17"}}, want: 17 * time.Second},
		"seconds with blanks":        {header: http.Header{"Retry-After": {" 17 "}}, want: 17 * time.Second},
		"parts of seconds":           {header: http.Header{"Retry-After": {"0.5"}}, want: 500 * time.Millisecond},
		"a date":                     {header: http.Header{"Retry-After": {"Thu, 26 Nov 2026 12:01:00 GMT"}}, want: time.Minute},
		"a date in the past":         {header: http.Header{"Retry-After": {"Thu, 26 Nov 2026 11:01:00 GMT"}}},
		"no time":                    {header: http.Header{"Retry-After": {"0"}}},
		"a negative time":            {header: http.Header{"Retry-After": {"-3"}}},
		"no number":                  {header: http.Header{"Retry-After": {"NaN"}}},
		"a word":                     {header: http.Header{"Retry-After": {"soon"}}},
		"a word, and a dialect":      {header: http.Header{"Retry-After": {"soon"}, "X-Ratelimit-Reset": {"9"}}, want: 9 * time.Second},
		"too many seconds":           {header: http.Header{"Retry-After": {"99999999999999999999999"}}, want: (1<<31 - 1) * time.Second},
		"milliseconds":               {header: http.Header{"Retry-After-Ms": {"1250"}, "Retry-After": {"2"}}, want: 1250 * time.Millisecond},
		"Anthropic":                  {header: http.Header{"Anthropic-Ratelimit-Unified-Reset": {unix(90 * time.Second)}}, want: 90 * time.Second},
		"Anthropic's dates":          {header: http.Header{"Anthropic-Ratelimit-Tokens-Reset": {"2026-11-26T12:00:30Z"}}, want: 30 * time.Second},
		"Anthropic, the exhausted":   {header: http.Header{"Anthropic-Ratelimit-Tokens-Reset": {"2026-11-26T12:00:30Z"}, "Anthropic-Ratelimit-Requests-Reset": {"2026-11-26T12:01:30Z"}, "Anthropic-Ratelimit-Requests-Remaining": {"0"}}, want: 90 * time.Second},
		"another reset":              {header: http.Header{"X-Cache-Reset": {"5"}}},
		"OpenAI":                     {header: http.Header{"X-Ratelimit-Reset-Requests": {"6m0s"}}, want: 6 * time.Minute},
		"OpenAI, the first of two":   {header: http.Header{"X-Ratelimit-Reset-Requests": {"6m0s"}, "X-Ratelimit-Reset-Tokens": {"120ms"}}, want: 120 * time.Millisecond},
		"OpenAI, the exhausted one":  {header: http.Header{"X-Ratelimit-Reset-Requests": {"6m0s"}, "X-Ratelimit-Remaining-Requests": {"0"}, "X-Ratelimit-Reset-Tokens": {"120ms"}}, want: 6 * time.Minute},
		"OpenAI, nonsense":           {header: http.Header{"X-Ratelimit-Reset-Requests": {"-6m0s"}, "X-Ratelimit-Reset-Tokens": {"later"}}},
		"Unix seconds":               {header: http.Header{"X-Ratelimit-Reset": {unix(time.Minute)}}, want: time.Minute},
		"Unix milliseconds":          {header: http.Header{"X-Ratelimit-Reset": {unix(time.Minute) + "500"}}, want: time.Minute + 500*time.Millisecond},
		"Unix time in the past":      {header: http.Header{"X-Ratelimit-Reset": {unix(-time.Minute)}}},
		"Codex":                      {header: http.Header{"X-Codex-Primary-Reset-After-Seconds": {"42"}}, want: 42 * time.Second},
		"ChatGPT, a time":            {body: `{"detail":{"type":"usage_limit_reached","resets_at":` + unix(time.Hour) + `}}`, want: time.Hour},
		"ChatGPT, seconds":           {body: `{"error":{"type":"usage_limit_reached","resets_in_seconds":77,"resets_at":1}}`, want: 77 * time.Second},
		"Google":                     {body: `[{"error":{"code":429,"details":[{"@type":"x"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}]`, want: 34500 * time.Millisecond},
		"OpenRouter":                 {body: `{"error":{"code":429,"metadata":{"headers":{"X-RateLimit-Reset":"` + unix(time.Minute) + `000"}}}}`, want: time.Minute},
		"the header before the body": {header: http.Header{"Retry-After": {"3"}}, body: `{"error":{"resets_in_seconds":77}}`, want: 3 * time.Second},
		"a body that is not JSON":    {body: `resets_in_seconds: 5`},
		"a body of other types":      {body: `{"resets_at":{"resets_in_seconds":[]},"retryDelay":true}`},
	} {
		if got := waitOf(c.header, decode([]byte(c.body)), clock()); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// FuzzWaits checks that no header and no body gives a wait below zero or one that overflows, and that a number of seconds
// is read as what it says in each place.
func FuzzWaits(f *testing.F) {
	f.Add("17", `{"error":{"resets_in_seconds":3}}`, uint16(9))
	f.Add("Thu, 26 Nov 2026 12:01:00 GMT", `[{"retryDelay":"1h"}]`, uint16(0))
	f.Add("1e999", `{"resets_at":1e308}`, uint16(60000))
	f.Fuzz(func(t *testing.T, value, body string, number uint16) {
		for _, name := range []string{
			"Retry-After", "Retry-After-Ms", "Anthropic-Ratelimit-Unified-Reset", "X-Ratelimit-Reset", "X-Ratelimit-Reset-Tokens",
			"Anthropic-Ratelimit-Tokens-Reset", "X-Codex-Primary-Reset-After-Seconds",
		} {
			if wait := waitOf(http.Header{name: {value}}, decode([]byte(body)), clock()); wait < 0 {
				t.Errorf("%s: %q and %q: %s", name, value, body, wait)
			}
		}
		want, text := time.Duration(number)*time.Second, strconv.Itoa(int(number))
		for _, name := range []string{"Retry-After", "X-Ratelimit-Reset", "X-Ratelimit-Reset-Tokens", "X-Codex-Primary-Reset-After-Seconds"} {
			if got := waitOf(http.Header{name: {text}}, nil, clock()); got != want {
				t.Errorf("%s: %s is read as %s", name, text, got)
			}
		}
		within, err := json.Marshal(map[string]any{"error": []any{body, map[string]any{"resets_in_seconds": number}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := waitOf(nil, decode(within), clock()); got != want {
			t.Errorf("%s is read as %s", within, got)
		}
	})
}
