package aibridged_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/rawserver"
	"github.com/coder/aibridged/internal/testkit"
)

// encoded returns text in a content coding, or in several, applied one after another.
func encoded(t *testing.T, codings, text string) string {
	t.Helper()
	data := []byte(text)
	for coding := range strings.SplitSeq(codings, ", ") {
		data = encoders(t)[coding](data)
	}
	return string(data)
}

// codedAnswer is an answer whose bytes are body and whose header names a coding.
func codedAnswer(q question, coding, body string) string {
	return q.head("Content-Encoding", coding, "Content-Length", strconv.Itoa(len(body))) + body
}

// TestFault017CodedAnswer is fault 17: an upstream codes an answer although nobody asked for that. The answer reaches
// the client as it came, with its Content-Encoding, and is recorded like any other.
func TestFault017CodedAnswer(t *testing.T) {
	t.Parallel()
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "gzip, br"} {
		t.Run(coding, func(t *testing.T) {
			t.Parallel()
			s, up := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
				c.Write(codedAnswer(q, coding, encoded(t, coding, q.answer())))
			})
			for _, q := range questions() {
				w := answered(q)
				w.body = encoded(t, coding, w.body)
				r := s.request(t, q, faulty)
				r.Header.Set("Accept-Encoding", "gzip, br")
				response, err := s.client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				if got := response.Header.Get("Content-Encoding"); got != coding {
					t.Errorf("%v: coding %q, want %q", q, got, coding)
				}
				s.checkAnswer(t, r, response, w)
				s.checkRecords(t, r, w)
			}
			for _, sent := range up.requests() {
				if got := sent.Header.Get("Accept-Encoding"); got != "" {
					t.Errorf("the upstream was asked for %q", got)
				}
			}
			s.serves(t)
		})
	}
}

// TestFault017WrongCoding is the rest of fault 17: an answer that is not in the coding it claims, or would be too large
// when decoded, is passed on and not read. That is no error of the interception, but the log says it.
func TestFault017WrongCoding(t *testing.T) {
	t.Parallel()
	const tooLarge = 64<<20 + 1
	bomb := encoded(t, "zstd", strings.Repeat("0", tooLarge))
	for name, test := range map[string]struct {
		coding string
		body   func(q question) string
		asked  []question
	}{
		"plain":           {"gzip", question.answer, questions()},
		"another coding":  {"br", func(q question) string { return encoded(t, "gzip", q.answer()) }, questions()},
		"unknown coding":  {"snappy", question.answer, questions()},
		"bytes behind it": {"gzip", func(q question) string { return encoded(t, "gzip", q.answer()) + "more" }, questions()},
		"bomb":            {"zstd", func(question) string { return bomb }, streams()[:1]},
		"bomb in a bomb":  {"zstd, gzip", func(question) string { return encoded(t, "gzip", bomb) }, questions()[1:2]},
	} {
		t.Run(name, func(t *testing.T) { // One after another: the decompression bombs need their memory only once then.
			s, _ := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
				c.Write(codedAnswer(q, test.coding, test.body(q)))
			})
			for _, q := range test.asked {
				w := want{status: 200, body: test.body(q)}
				if name == "bytes behind it" && q.stream {
					w.usage = "12/2" // The bytes that are no coding come after the event that ends the answer.
				}
				s.check(t, s.request(t, q, faulty), w)
			}
			if !strings.Contains(s.Log.String(), "unread=") {
				t.Error("the log does not say that an answer was not read")
			}
			s.serves(t)
		})
	}
}

// TestFault017CutCodedStream is faults 6 and 17 together: where a coded stream breaks off, the part that came is
// recorded.
func TestFault017CutCodedStream(t *testing.T) {
	t.Parallel()
	q := question{messagesFormat(), true}
	var coded bytes.Buffer
	w := gzip.NewWriter(&coded)
	_, _ = io.WriteString(w, strings.Join(q.format.events[:3], ""))
	_ = w.Flush() // Without the end of the coding.
	s, _ := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
		c.Write(q.head("Transfer-Encoding", "chunked", "Content-Encoding", "gzip") + chunk(coded.String()))
		c.Close()
	})
	want := broken(q, 3)
	want.body = coded.String()
	s.check(t, s.request(t, q, faulty), want)
	s.serves(t)
}

// TestFault031NotInItsCoding is fault 31: a request that is not, or not only, in the codings that it claims is refused, and
// never read as text.
func TestFault031NotInItsCoding(t *testing.T) {
	t.Parallel()
	q := question{messagesFormat(), true}
	const (
		wrong       = "request body is not in its content encoding"
		unsupported = "content encoding not supported: send gzip, deflate, br, zstd or none"
		tooLarge    = "request body too large once decoded"
	)
	s, up := newFine(t, testkit.GatewayOptions{Limits: aibridge.Limits{RequestBody: 1 << 20}})
	bomb := encoded(t, "zstd, gzip", q.bodyWith(fine, strings.Repeat("0", 8<<20)))
	for _, test := range []struct {
		coding, body string
		want         want
	}{
		{"gzip", q.body(fine), refused(400, wrong)},
		{"gzip", encoded(t, "gzip", q.body(fine))[:60], refused(400, wrong)},
		{"gzip", encoded(t, "gzip", q.body(fine)) + q.body(faulty), refused(400, wrong)},
		{"gzip, zstd", encoded(t, "gzip", q.body(fine)), refused(400, wrong)},
		{"compress", q.body(fine), refused(415, unsupported)},
		{"gzip, gzip, gzip, gzip", q.body(fine), refused(415, unsupported)},
		{"zstd, gzip", bomb, refused(413, tooLarge)},
	} {
		r := s.withBody(t, q, []byte(test.body))
		r.Header.Set("Content-Encoding", test.coding)
		s.check(t, r, test.want)
	}
	if n := len(up.requests()); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
	s.serves(t)
}

// TestFault021CodedError is faults 17 and 21 together: what an upstream says of its error is recorded, coded or not.
func TestFault021CodedError(t *testing.T) {
	t.Parallel()
	for _, q := range questions() {
		s, _ := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, _ question) {
			body := encoded(t, "gzip", `{"error":{"type":"rate_limit_error","message":"slow down"}}`)
			c.Write(head(429, "Content-Type", "application/json", "Content-Encoding", "gzip",
				"Content-Length", strconv.Itoa(len(body))) + body)
		})
		r := s.request(t, q, faulty)
		s.check(t, r, want{
			status: 429, body: encoded(t, "gzip", `{"error":{"type":"rate_limit_error","message":"slow down"}}`),
			ended: aibridge.ErrorRateLimited,
		})
		records := s.interception(t, r.UserAgent())
		if message := records[len(records)-1].GetInterceptionEnded().GetErrorMessage(); message != "slow down" {
			t.Errorf("%v: recorded the message %q", q, message)
		}
	}
}
