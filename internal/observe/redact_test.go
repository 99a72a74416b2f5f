package observe

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/kept"
)

func BenchmarkRedaction(b *testing.B) {
	header := http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip, deflate, br, zstd"}, "Content-Type": {"application/json"},
		"Content-Length": {"48213"}, "User-Agent": {"claude-cli/2.1.330 (external, sdk-cli)"},
		"Anthropic-Beta":    {"claude-code-20250219,interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14"},
		"Anthropic-Version": {"2023-06-01"}, "X-App": {"cli"}, "X-Stainless-Arch": {"x64"}, "X-Stainless-Lang": {"js"},
		"X-Claude-Code-Session-Id": {"0b0a7a4e-3c5c-4a57-9a5a-0f4bd0a3a3f7"},
		"Traceparent":              {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"X-Api-Key":                {canary},
	}
	b.ReportAllocs()
	for b.Loop() {
		redactionOf(header).header(header)
	}
}

// TestFilesHoldNoCredential checks dumps and kept files for the credentials of a request, in whatever header or part of
// the URL they stand: that of the request, and the caller's own. Neither looks like a credential by itself.
func TestFilesHoldNoCredential(t *testing.T) {
	const provider, caller = "canary.0123.of.the.provider", "canary.4567.of.the.caller"
	dir := t.TempDir()
	encoded := base64.StdEncoding.EncodeToString([]byte("user:" + provider))
	keeper, err := Keep(roundTripperFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{
			Proto: "HTTP/1.1", Status: "401 no such key: " + provider, StatusCode: 401,
			Header: http.Header{
				"Location": {"/login?next=" + caller}, "X-Echo": {"Basic " + encoded, provider}, "X-" + provider: {"1"}, "Retry-After": {"1"},
			},
			Body: io.NopCloser(iotest.ErrReader(errors.New("malformed trailer: X-Echo: " + provider))),
		}, nil
	}), filepath.Join(dir, "kept"), time.Hour, 64<<20, slog.Make())
	if err != nil {
		t.Fatal(err)
	}
	dumper := Dump(keeper, filepath.Join(dir, "dumps"), 64<<20, slog.Make())
	r := request(t, http.MethodPost, "http://provider.example/v1/"+provider+"/models/"+strings.ReplaceAll(caller, ".", "%2E")+
		"?note="+url.QueryEscape("a "+provider)+"&"+caller+"=1&keep=1", "{}")
	r.Header.Set("X-Api-Key", provider)
	r.Header.Set("Authorization", "Bearer "+caller)
	r.Header.Set("X-Note", "see "+provider+" and "+encoded)
	r.Header.Set("Referer", "https://a.example/?session="+url.QueryEscape(caller))
	r.Header.Set("X-Kept", "kept")
	client := http.Header{"Authorization": {"Bearer " + caller}, "X-Note": {caller + ", " + provider}, "User-Agent": {"client/1"}}
	response, err := Send(dumper, r, Interception{ID: uuid.New(), Format: "messages", Header: client, Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(response.Body)
	_ = response.Body.Close()
	dumper.Close()
	keeper.Close()
	dumped := dumps(t, filepath.Join(dir, "dumps"), "request")[0] + dumps(t, filepath.Join(dir, "dumps"), "response")[0]
	files, err := filepath.Glob(filepath.Join(dir, "kept", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	file, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	exchange, err := kept.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{
		"dump": dumped, "kept file": fmt.Sprintf("%+v %+v %+v", exchange.Head, exchange.Answer, exchange.End),
	} {
		for _, secret := range []string{"0123.of", "4567.of", "0123%2Eof", "4567%2Eof", encoded[:20]} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in the %s:\n%s", secret, where, text)
			}
		}
	}
	for _, want := range []string{"X-Kept: kept", "keep=1", "/v1/[redacted]/models/[redacted]", "Retry-After: 1", "HTTP/1.1 401 no such key: [redacted]"} {
		if !strings.Contains(dumped, want) {
			t.Errorf("%q is not in the dump:\n%s", want, dumped)
		}
	}
}
