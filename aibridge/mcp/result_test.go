package mcp

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// The smallest beginnings that show what an image is.
const (
	png  = "\x89PNG\r\n\x1a\n"
	jpeg = "\xff\xd8\xff\xe0"
	gif  = "GIF89a"
	webp = "RIFF\x00\x00\x00\x00WEBPVP8 "
)

func image(mediaType, data string) string {
	return fmt.Sprintf(`{"type":"image","mimeType":%q,"data":%q}`, mediaType, base64.StdEncoding.EncodeToString([]byte(data)))
}

func TestResultParts(t *testing.T) {
	for name, test := range map[string]struct {
		result string
		limit  int // 100 if zero.
		want   []Part
	}{
		"nothing":              {`{}`, 0, nil},
		"no content":           {`{"content":[]}`, 0, nil},
		"content is null":      {`{"content":null,"structuredContent":null}`, 0, nil},
		"empty texts":          {`{"content":[{"type":"text","text":""},{"type":"text"}]}`, 0, nil},
		"structured only":      {`{"structuredContent":{"a": 1.0}}`, 0, []Part{{Text: `{"a": 1.0}`}}},
		"structured is a list": {`{"structuredContent":[1,2],"content":[{"type":"text","text":"[1, 2]"}]}`, 0, []Part{{Text: "[1, 2]"}}},
		"said in other words": {
			`{"content":[{"type":"text","text":" {\"b\":\"\\u00e9\", \"a\":1}"}],"structuredContent":{"a":1,"b":"é"}}`, 0,
			[]Part{{Text: ` {"b":"\u00e9", "a":1}`}},
		},
		"said with more": {
			`{"content":[{"type":"text","text":"{\"a\":1} and more"}],"structuredContent":{"a":1}}`, 0,
			[]Part{{Text: `{"a":1} and more`}, {Text: `{"a":1}`}},
		},
		"another number": {
			`{"content":[{"type":"text","text":"{\"a\":12345678901234567890}"}],"structuredContent":{"a":12345678901234567891}}`, 0,
			[]Part{{Text: `{"a":12345678901234567890}`}, {Text: `{"a":12345678901234567891}`}},
		},
		"images in their order": {
			`{"content":[` + strings.Join([]string{
				image("image/png", png), `{"type":"text","text":"between"}`, image("image/jpeg", jpeg), image("image/gif", gif), image("image/webp", webp),
			}, ",") + `]}`, 0,
			[]Part{
				{MediaType: "image/png", Data: []byte(png)}, {Text: "between"}, {MediaType: "image/jpeg", Data: []byte(jpeg)},
				{MediaType: "image/gif", Data: []byte(gif)}, {MediaType: "image/webp", Data: []byte(webp)},
			},
		},
		"an image under a wrong name": {`{"content":[` + image("image/png", jpeg) + `]}`, 0, []Part{{MediaType: "image/jpeg", Data: []byte(jpeg)}}},
		"an image without a name":     {`{"content":[` + image("", gif) + `]}`, 0, []Part{{MediaType: "image/gif", Data: []byte(gif)}}},
		"no image":                    {`{"content":[` + image("image/svg+xml", "<svg>") + `]}`, 0, []Part{{Text: `[image of type "image/svg+xml" left out: it is not a PNG, JPEG, GIF or WebP image]`}}},
		"no base64":                   {`{"content":[{"type":"image","mimeType":"image/png","data":"%"}]}`, 0, []Part{{Text: `[image of type "image/png" left out: it is not valid base64]`}}},
		"an image as a resource": {
			`{"content":[{"type":"resource","resource":{"uri":"file:///a","mimeType":"image/gif","blob":"` + base64.StdEncoding.EncodeToString([]byte(gif)) + `"}}]}`, 0,
			[]Part{{MediaType: "image/gif", Data: []byte(gif)}},
		},
		"sound":   {`{"content":[{"type":"audio","mimeType":"audio/wav","data":"AAAA"}]}`, 0, []Part{{Text: `[audio of type "audio/wav" left out]`}}},
		"no type": {`{"content":[{}]}`, 0, []Part{{Text: `[ of type "" left out]`}}},
		"a text is cut in whole characters": {
			`{"content":[{"type":"text","text":"üüü"},{"type":"text","text":"x"}]}`, 5,
			[]Part{{Text: "üü"}, {Text: "[the result was cut at 5 bytes; left out: 3 bytes of text]"}},
		},
		"an image that does not fit": {
			`{"content":[` + image("image/gif", gif+"123456") + `,{"type":"text","text":"1234"},` + image("image/gif", gif) + `]}`, 10,
			[]Part{{Text: "1234"}, {MediaType: "image/gif", Data: []byte(gif)}, {Text: "[the result was cut at 10 bytes; left out: images: 1]"}},
		},
		"all of it fits": {`{"content":[{"type":"text","text":"1234"},` + image("image/gif", gif) + `]}`, 10, []Part{{Text: "1234"}, {MediaType: "image/gif", Data: []byte(gif)}}},
		"structured content is cut too": {
			`{"structuredContent":{"a":"1234567890"}}`, 5,
			[]Part{{Text: `{"a":`}, {Text: "[the result was cut at 5 bytes; left out: 13 bytes of text]"}},
		},
		"invalid UTF-8": {"{\"content\":[{\"type\":\"text\",\"text\":\"a\xffb\"}],\"structuredContent\":{\"a\":\"\xfe\"}}", 0, []Part{{Text: "a\uFFFDb"}, {Text: "{\"a\":\"\uFFFD\"}"}}},
		"a secret":      {`{"content":[{"type":"text","text":"with ` + testToken + `"}],"structuredContent":{"a":"` + testToken + `"}}`, 0, []Part{{Text: "with [redacted]"}, {Text: `{"a":"[redacted]"}`}}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.limit == 0 {
				test.limit = 100
			}
			got, err := readResult(json.RawMessage(test.result), secrets{testToken}, test.limit)
			if err != nil || !reflect.DeepEqual(got.Parts, test.want) {
				t.Errorf("parts %q, error %v, want %q", got.Parts, err, test.want)
			}
		})
	}
}

func TestResultThatAsksForMore(t *testing.T) {
	_, err := readResult(json.RawMessage(`{"resultType":"input_required","inputRequests":{}}`), nil, 100)
	if err == nil || !strings.Contains(err.Error(), "input_required") {
		t.Errorf("error %v", err)
	}
}

func TestResultOfManySmallParts(t *testing.T) {
	blocks := strings.Repeat(`{"type":"text","text":"a"},`, 100_000)
	got, err := readResult(json.RawMessage(`{"content":[`+strings.TrimSuffix(blocks, ",")+`]}`), nil, 1<<20)
	if err != nil || len(got.Parts) != maxParts+1 {
		t.Fatalf("%d parts, error %v", len(got.Parts), err)
	}
	if note := got.Parts[maxParts].Text; !strings.HasSuffix(note, "left out: 99000 bytes of text]") {
		t.Errorf("note %q", note)
	}
}

// TestLargeResultIsCut has a result of 10 MB that comes over HTTP, as JSON and as a stream.
func TestLargeResultIsCut(t *testing.T) {
	for name, kind := range map[string]string{"JSON": "application/json", "stream": "text/event-stream"} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, ProxyOptions{URL: rawServer{
				"tools/call": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
					w.Header().Set("Content-Type", kind)
					if kind != "application/json" {
						fmt.Fprint(w, "data: ")
					}
					fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"`, call.ID)
					fmt.Fprint(w, strings.Repeat("ü", 5<<20), `"}]}}`, "\n\n")
				},
			}.start(t), ResultBytes: 1001})
			result, err := p.Call(t.Context(), "bmcp_srv_tool", nil)
			if want := texts(strings.Repeat("ü", 500), "[the result was cut at 1001 bytes; left out: 10484760 bytes of text]"); err != nil || !reflect.DeepEqual(result, want) {
				t.Errorf("%d parts, error %v", len(result.Parts), err)
			}
		})
	}
}

// FuzzReadResult checks that no result is larger than its limit and the note, that its texts are UTF-8, and that no part is empty.
func FuzzReadResult(f *testing.F) {
	f.Add([]byte(`{"content":[{"type":"text","text":"üüü"},`+image("image/png", png)+`],"structuredContent":{"a":[1]}}`), 10)
	f.Add([]byte(`{"content":[{"type":"resource","resource":{"mimeType":"image/x","blob":"%"}},{"type":"resource_link","uri":"a"}]}`), 0)
	f.Fuzz(func(t *testing.T, raw []byte, limit int) {
		limit = max(limit, 0) % (1 << 20)
		result, err := readResult(raw, nil, limit)
		if err != nil {
			return
		}
		size := 0
		for i, part := range result.Parts {
			if (part.Text == "") == (part.MediaType == "") || (part.MediaType == "") != (part.Data == nil) || !utf8.ValidString(part.Text) {
				t.Errorf("part %d is %q", i, part)
			}
			size += len(part.Text) + len(part.Data)
		}
		if size > limit && !strings.HasPrefix(result.Parts[len(result.Parts)-1].Text, "[the result was cut") || size > limit+200 {
			t.Errorf("%d bytes with a limit of %d", size, limit)
		}
	})
}
