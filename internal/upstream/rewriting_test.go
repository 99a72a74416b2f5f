package upstream_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/upstream"
)

func TestReadBody(t *testing.T) {
	for _, size := range []int{1, 4096, 4097, 70_000, 3 << 20} {
		for name, length := range map[string]int64{"known": int64(size), "unknown": -1} {
			pool := memory.New(64 << 20)
			want := bytes.Repeat([]byte("x"), size)
			r := httptest.NewRequest(http.MethodPost, "/", iotest.DataErrReader(bytes.NewReader(want)))
			r.ContentLength = length
			got, err := upstream.ReadBody(r, pool)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, length %s: %d bytes, %v", size, name, len(got), err)
			}
			pool.TakeBack(got)
			if used := pool.Used(); used != 0 {
				t.Errorf("%d bytes, length %s: %d bytes stay lent", size, name, used)
			}
		}
	}
	if body, err := upstream.ReadBody(httptest.NewRequest(http.MethodGet, "/", nil), nil); body != nil || err != nil {
		t.Errorf("no body: %v, %v", body, err)
	}
}

func TestReadBodyFails(t *testing.T) {
	pool := memory.New(64 << 10)
	broken := errors.New("broken")
	for want, body := range map[int]io.Reader{
		http.StatusServiceUnavailable: strings.NewReader(strings.Repeat("x", 100_000)),
		0:                             io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken)),
	} {
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.ContentLength = -1
		_, err := upstream.ReadBody(r, pool)
		if refusal, ok := errors.AsType[*apierror.Error](err); ok && (refusal.Status != want || refusal.RetryAfter == 0) || !ok && !errors.Is(err, broken) {
			t.Errorf("%v, want status %d", err, want)
		}
		if used := pool.Used(); used != 0 {
			t.Errorf("%d bytes stay lent", used)
		}
	}
}

func TestSetURL(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/a?b=c", nil)
	base, err := url.Parse("https://host/base%2F1")
	if err != nil {
		t.Fatal(err)
	}
	upstream.SetURL(r, base, "/model/a:b%2Fc/invoke")
	if got := r.URL.String(); got != "https://host/base%2F1/model/a:b%2Fc/invoke?b=c" || r.Host != "" {
		t.Errorf("%s, host %q", got, r.Host)
	}
}

func TestModelSegment(t *testing.T) {
	for id, want := range map[string]string{
		"us.anthropic.claude-v1:0": "us.anthropic.claude-v1:0", "arn:aws:bedrock:eu-west-1:1:inference-profile/a.b": "arn:aws:bedrock:eu-west-1:1:inference-profile%2Fa.b",
		"a b?c#d%2F;\u00e9@1": "a%20b%3Fc%23d%252F%3B%C3%A9@1", "a..b.": "a..b.",
		"": "", ".": "", "..": "", "...": "", "a/../b": "", "a//b": "", "/a": "", "a/": "", "a\\..\\b": "", "a\x00": "",
	} {
		if got, ok := upstream.ModelSegment(id); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %t", id, got, ok)
		}
	}
}
