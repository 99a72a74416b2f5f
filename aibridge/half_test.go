package aibridge_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rawserver"
)

// framings are the ways in which an answer can be framed: what its head says, and its body within that.
var framings = map[string]func(head, body string) string{
	"HTTP/1.0": func(head, body string) string { return "HTTP/1.0 200 OK\r\n" + head + "\r\n" + body },
	"close": func(head, body string) string {
		return "HTTP/1.1 200 OK\r\n" + head + "Connection: close\r\n\r\n" + body
	},
	"length": func(head, body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", head, len(body), body)
	},
	"chunks": func(head, body string) string {
		piece := ""
		if body != "" {
			piece = fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
		}
		return "HTTP/1.1 200 OK\r\n" + head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + piece + "0\r\n\r\n"
	},
}

// gzipped returns the text as one gzip member for each part.
func gzipped(t *testing.T, parts ...string) string {
	t.Helper()
	var coded bytes.Buffer
	for _, part := range parts {
		w, err := gzip.NewWriterLevel(&coded, gzip.NoCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return coded.String()
}

// TestHalfABody is about a blocking answer that ends in good order for HTTP. If it ends in the middle of its JSON, the
// client gets a 502 and the record says truncated; any other answer passes unchanged.
func TestHalfABody(t *testing.T) {
	t.Parallel()
	const (
		chat      = `{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"content":"Grüße, 世界"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12345,"completion_tokens":1}}`
		responses = `{"id":"r1","object":"response","status":"completed","output":[],"usage":{"input_tokens":12345,"output_tokens":1}}`
		isJSON    = "Content-Type: application/json\r\n"
		isGzip    = isJSON + "Content-Encoding: gzip\r\n"
	)
	at := func(text, mark string) string { return text[:strings.Index(text, mark)+1] }
	type answer struct{ name, path, head, body string }
	half := []answer{
		{"messages", "/p/v1/messages", isJSON, whole[:len(whole)/2]},
		{"chat", "/o/v1/chat/completions", isJSON, chat[:len(chat)/2]},
		{"responses", "/o/v1/responses", isJSON, responses[:len(responses)/2]},
		{"one byte", "/p/v1/messages", isJSON, "{"},
		{"one byte short", "/p/v1/messages", isJSON, whole[:len(whole)-1]},
		{"plain text", "/o/v1/chat/completions", "Content-Type: text/plain\r\n", chat[:40]},
		{"no type", "/o/v1/chat/completions", "", chat[:40]},
		{"behind white space", "/p/v1/messages", isJSON, "\n\n" + whole[:40]},
		{"behind a mark", "/p/v1/messages", isJSON, "\ufeff" + whole[:40]},
		{"within a character", "/o/v1/chat/completions", isJSON, at(chat, "世")},
		{"within a number", "/o/v1/responses", isJSON, at(responses, "23")},
		{"an array", "/o/v1/responses", isJSON, `[{"id":"r1"},`},
		{"a string", "/p/v1/messages", isJSON, `"overloa`},
		{"within an error", "/p/v1/messages", isJSON, `{"type":"error","error":{"type":"api`},
		{"a cut value behind a whole one", "/p/v1/messages", isJSON, whole + "\n" + whole[:40]},
		{"a text event", "/p/v1/messages", isJSON, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}`},
		{"with control characters", "/p/v1/messages", isJSON, "{\"a\":\"line\nbreak\",\"b\":NaN,"},
		{"empty", "/p/v1/messages", isJSON, ""},
		{"empty and of no type", "/o/v1/chat/completions", "", ""},
		{"gzip", "/p/v1/messages", isGzip, gzipped(t, whole[:40])},
		{"gzip, cut between members", "/o/v1/chat/completions", isGzip, gzipped(t, chat[:40], chat[40:60])},
		{"gzip of nothing", "/p/v1/messages", isGzip, gzipped(t, "")},
		{"gzip in gzip", "/p/v1/messages", isJSON + "Content-Encoding: gzip, gzip\r\n", gzipped(t, gzipped(t, whole[:40]))},
	}
	passes := []answer{
		{"messages", "/p/v1/messages", isJSON, whole},
		{"chat", "/o/v1/chat/completions", isJSON, chat},
		{"responses", "/o/v1/responses", isJSON, responses},
		{"plain text", "/o/v1/chat/completions", "Content-Type: text/plain\r\n", chat},
		{"white space around", "/p/v1/messages", isJSON, "\n" + whole + "\n\n"},
		{"gzip", "/p/v1/messages", isGzip, gzipped(t, whole)},
		{"gzip in members", "/p/v1/messages", isGzip, gzipped(t, whole[:40], whole[40:])},
		{"a page", "/p/v1/messages", "Content-Type: text/html\r\n", "<html><script>{\"a\":["},
		{"a page that says JSON", "/p/v1/messages", isJSON, "<html>{"},
		{"text", "/p/v1/messages", "Content-Type: text/plain\r\n", "upstream connect error {"},
		{"text with brackets", "/p/v1/messages", "Content-Type: text/plain\r\n", "[error] no route {"},
		{"events", "/p/v1/messages", isJSON, "data: {\"a\":"},
		{"another API", "/p/v1/messages", isJSON, `{"hello":"world"}`},
		{"two values", "/p/v1/messages", isJSON, `{"a":1}{"b":2}`},
	}
	for framing, framed := range framings {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			answers := make(chan string, 1)
			up := rawserver.New(t, func(c *rawserver.Conn) {
				if r, _ := c.ReadRequest(); r != nil {
					c.Write(<-answers)
				}
			})
			bridge, recorded := bridgeAt(t, up.URL())
			gateway := httptest.NewServer(bridge)
			t.Cleanup(gateway.Close)
			for _, a := range half {
				answers <- framed(a.head, a.body)
				response, got, err := ask(t, gateway.URL, a.path, askWhole)
				if err != nil || response.StatusCode != http.StatusBadGateway || !strings.Contains(got, `"error"`) {
					t.Errorf("half, %s: status %d, %q, %v", a.name, response.StatusCode, got, err)
				}
				if types := strings.Join(recorded.take(), " "); types != string(aibridge.ErrorTruncated) {
					t.Errorf("half, %s: recorded as %q", a.name, types)
				}
			}
			for _, a := range passes {
				answers <- framed(a.head, a.body)
				response, got, err := ask(t, gateway.URL, a.path, askWhole)
				if err != nil || response.StatusCode != http.StatusOK || got != a.body {
					t.Errorf("%s: status %d, %q, %v", a.name, response.StatusCode, got, err)
				}
				if types := strings.Join(recorded.take(), " "); types == string(aibridge.ErrorTruncated) {
					t.Errorf("%s: recorded as %q", a.name, types)
				}
			}
		})
	}
}

// TestHalfPassedThrough is about half a JSON body on a route that is passed through: the client has its beginning by then,
// so it sees a break.
func TestHalfPassedThrough(t *testing.T) {
	t.Parallel()
	for framing, framed := range framings {
		for body, isHalf := range map[string]bool{`{"input_tokens":1`: true, `{"input_tokens":12}`: false, `<html>{`: false} {
			up := rawserver.New(t, func(c *rawserver.Conn) {
				if r, _ := c.ReadRequest(); r != nil {
					c.Write(framed("Content-Type: application/json\r\n", body))
				}
			})
			bridge, _ := bridgeAt(t, up.URL())
			gateway := httptest.NewServer(bridge)
			var got []byte
			response, err := http.Post(gateway.URL+"/p/v1/messages/count_tokens", "application/json", strings.NewReader(askWhole))
			if err == nil {
				got, err = io.ReadAll(response.Body)
				response.Body.Close()
			}
			if (err != nil) != isHalf || !isHalf && string(got) != body {
				t.Errorf("%s, %s: %q, %v", framing, body, got, err)
			}
			gateway.Close()
		}
	}
}

// TestHalfAnErrorPasses is about an error whose text is cut off: its status counts, so it passes as it came.
func TestHalfAnErrorPasses(t *testing.T) {
	t.Parallel()
	const body = `{"type":"error","error":{"type":"rate_limit_error","mess`
	up := rawserver.New(t, func(c *rawserver.Conn) {
		if r, _ := c.ReadRequest(); r != nil {
			c.Write("HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 7\r\nConnection: close\r\n\r\n" + body)
		}
	})
	bridge, recorded := bridgeAt(t, up.URL())
	gateway := httptest.NewServer(bridge)
	t.Cleanup(gateway.Close)
	response, got, err := ask(t, gateway.URL, "/p/v1/messages", askWhole)
	if err != nil || response.StatusCode != http.StatusTooManyRequests || got != body || response.Header.Get("Retry-After") != "7" {
		t.Errorf("status %d, %q, %v", response.StatusCode, got, err)
	}
	if types := strings.Join(recorded.take(), " "); types != string(aibridge.ErrorRateLimited) {
		t.Errorf("recorded as %q", types)
	}
}

// TestHalfOfWhatHasBegun is about half a JSON body of which the client has some already: white space that an upstream
// sent to keep its connection, or the beginning of an answer that is too large to be held. The client sees the break.
func TestHalfOfWhatHasBegun(t *testing.T) {
	t.Parallel()
	large := `{"id":"m","type":"message","content":[{"type":"text","text":"` + strings.Repeat("x", 65<<20)
	const isJSON = "Content-Type: application/json\r\n"
	for name, test := range map[string]struct{ head, first, rest string }{
		"white space":       {isJSON, "\n\n", whole[:30]},
		"only white space":  {isJSON, "\n \n", "\n"},
		"large":             {isJSON, large, ""},
		"large and a value": {isJSON, large + `"}]}`, `{"a`},
		"large and coded":   {isJSON + "Content-Encoding: gzip\r\n", gzipped(t, large), ""},
	} {
		for framing, framed := range framings {
			t.Run(name+"/"+framing, func(t *testing.T) {
				if len(test.first) > 1<<20 && framing != map[bool]string{true: "length", false: "close"}[name == "large"] {
					t.Skip("large answers take time, and these framings are like the others")
				}
				up := rawserver.New(t, func(c *rawserver.Conn) {
					if r, _ := c.ReadRequest(); r != nil {
						c.Write(framed(test.head, test.first+test.rest))
					}
				})
				bridge, recorded := bridgeAt(t, up.URL())
				gateway := httptest.NewServer(bridge)
				defer gateway.Close()
				response, got, err := ask(t, gateway.URL, "/p/v1/messages", askWhole)
				if response.StatusCode == http.StatusOK && err == nil {
					t.Errorf("a clean end after %d bytes", len(got))
				}
				if types := strings.Join(recorded.take(), " "); types != string(aibridge.ErrorTruncated) {
					t.Errorf("recorded as %q", types)
				}
			})
		}
	}
}

// TestLargeAnswerPasses is about an answer that is too large to be held, and whole.
func TestLargeAnswerPasses(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", 65<<20)
	for name, body := range map[string]string{"JSON": `{"a":"` + text + `"}`} {
		up := rawserver.New(t, func(c *rawserver.Conn) {
			if r, _ := c.ReadRequest(); r != nil {
				c.Write(framings["close"]("Content-Type: application/json\r\n", body))
			}
		})
		bridge, recorded := bridgeAt(t, up.URL())
		gateway := httptest.NewServer(bridge)
		_, got, err := ask(t, gateway.URL, "/p/v1/messages", askWhole)
		if types := strings.Join(recorded.take(), " "); err != nil || got != body || types != "" {
			t.Errorf("%s: %d bytes of %d, %v, recorded as %q", name, len(got), len(body), err, types)
		}
		gateway.Close()
	}
}
