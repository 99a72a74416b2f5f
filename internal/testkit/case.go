package testkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/coder/aibridged/internal/fakemcp"
	"github.com/coder/aibridged/internal/sse"
)

// Case is one rule as a file: what a client sends, what the upstream answers, and what the result must be. A file is a
// txtar archive. Its comment says the rule in prose; a line that begins with a setting's name and a colon sets that
// setting:
//
//	framing: chunked, length or close   how the answer is framed; chunked for streams, length otherwise
//	ending: clean or cut                whether the upstream ends its answer in good order; clean
//	newlines: lf, crlf or cr            what the upstream ends its lines with; lf
//	client: served or aborted           whether the client's connection ends in good order; served
//	network: any or only                whether the case concerns requests over the network alone; any
//	turns: kept or forgotten            whether the control plane keeps turns; if not, later requests go to another gateway; kept
//
// Its sections are messages, each a first line, headers, an empty line and a body:
//
//	request    METHOD PATH, as the client sends it; a body's last newline is the file's, not the body's
//	upstream   STATUS, what the upstream answers; absent: it must not be called
//	sent       METHOD PATH, what the upstream must get; absent: the request's path and body
//	received   STATUS, what the client must get; absent: what the upstream answered, byte for byte
//	records    one JSON object a line: what must be recorded, in order
//	tools      one JSON object a line: a tool of the MCP server "docs", with its results, see [fakemcp.Tool]
//	calls      one line a call, its tool and its arguments: what that server must have been called for, in any order
//
// Where the model calls the gateway's tools, there are several rounds: "upstream 2" is the answer to the second request, which
// must be "sent 2", and so on. The bodies of these must be the same JSON as what was sent, and not the same bytes.
//
// Where a rule is about a whole conversation, the client sends "request 2" once it has its answer, and must get "received 2".
// The rounds of all requests are numbered through.
//
// In sent and received, a header "!Name:" must be absent; headers that are not named may have any value or be absent.
type Case struct {
	File     string
	Settings map[string]string
	Request  Message
	Upstream *Message
	Sent     *Message
	Received *Message
	Records  string

	Later []Round    // The second round and the others.
	Next  []Exchange // What the client sends after its first request.
	Tools []fakemcp.Tool
	Calls []string
}

// Round is a later round of a case.
type Round struct{ Sent, Upstream *Message }

// Exchange is a later request of the client, and what it must get: nil is what the upstream answered last.
type Exchange struct {
	Request  Message
	Received *Message
}

// Message is an HTTP message of a case.
type Message struct {
	First  string
	Header http.Header
	Body   []byte
}

// Status returns the status in the first line of an answer.
func (m *Message) Status() int {
	status, err := strconv.Atoi(strings.Fields(m.First)[0])
	if err != nil {
		panic(fmt.Sprintf("first line %q: want a status", m.First))
	}
	return status
}

// Method returns the method in a request's first line.
func (m *Message) Method() string { return strings.Fields(m.First)[0] }

// Path returns the request's path and query.
func (m *Message) Path() string { return strings.Fields(m.First)[1] }

// IsStream reports whether the message is a stream of events.
func (m *Message) IsStream() bool {
	return strings.HasPrefix(m.Header.Get("Content-Type"), "text/event-stream")
}

// Events returns the body in pieces, each of which ends where an event ends.
func (m *Message) Events() [][]byte {
	var (
		splitter sse.Splitter
		events   [][]byte
	)
	for event := range splitter.Feed(m.Body) {
		events = append(events, bytes.Clone(event.Raw))
	}
	for event := range splitter.Flush() {
		events = append(events, bytes.Clone(event.Raw))
	}
	return events
}

// LoadCase reads a case from a file.
func LoadCase(t testing.TB, file string) *Case {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse(data)
	c := &Case{File: file, Settings: map[string]string{
		"framing": "", "ending": "clean", "newlines": "lf", "client": "served", "network": "any", "turns": "kept",
	}}
	for line := range strings.Lines(string(archive.Comment)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if _, known := c.Settings[name]; ok && known {
			c.Settings[name] = strings.TrimSpace(value)
		}
	}
	for _, section := range archive.Files {
		switch section.Name {
		case "request":
			c.Request = *parseMessage(t, section.Data)
			c.Request.Body = bytes.TrimSuffix(c.Request.Body, []byte("\n"))
		case "upstream":
			c.Upstream = parseMessage(t, section.Data)
			c.Upstream.Body = c.withNewlines(c.Upstream.Body)
		case "sent":
			c.Sent = parseMessage(t, section.Data)
			c.Sent.Body = bytes.TrimSuffix(c.Sent.Body, []byte("\n"))
		case "received":
			c.Received = c.parseReceived(t, section.Data)
		case "tools":
			for line := range strings.Lines(string(section.Data)) {
				var tool fakemcp.Tool
				if err := json.Unmarshal([]byte(line), &tool); err != nil {
					t.Fatalf("%s: tool %s: %v", file, line, err)
				}
				c.Tools = append(c.Tools, tool)
			}
		case "calls":
			c.Calls = strings.Split(strings.TrimSuffix(string(section.Data), "\n"), "\n")
		case "records":
			c.Records = string(section.Data)
		default:
			c.loadNumbered(t, section)
		}
	}
	if c.Settings["framing"] == "" {
		c.Settings["framing"] = "length"
		if c.Upstream != nil && c.Upstream.IsStream() {
			c.Settings["framing"] = "chunked"
		}
	}
	return c
}

// parseReceived parses what a client must get.
func (c *Case) parseReceived(t testing.TB, data []byte) *Message {
	t.Helper()
	message := parseMessage(t, data)
	if message.IsStream() {
		message.Body = c.withNewlines(message.Body)
	} else {
		message.Body = bytes.TrimSuffix(message.Body, []byte("\n"))
	}
	return message
}

// loadNumbered loads a section of a later round, or of a later request.
func (c *Case) loadNumbered(t testing.TB, section txtar.File) {
	t.Helper()
	name, number, _ := strings.Cut(section.Name, " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 2 {
		t.Fatalf("%s: unknown section %q", c.File, section.Name)
	}
	switch name {
	case "request":
		request := *parseMessage(t, section.Data)
		request.Body = bytes.TrimSuffix(request.Body, []byte("\n"))
		if n != len(c.Next)+2 {
			t.Fatalf("%s: section %q is out of order", c.File, section.Name)
		}
		c.Next = append(c.Next, Exchange{Request: request})
		return
	case "received":
		if n != len(c.Next)+1 {
			t.Fatalf("%s: section %q is out of order", c.File, section.Name)
		}
		c.Next[n-2].Received = c.parseReceived(t, section.Data)
		return
	}
	if n == len(c.Later)+2 {
		c.Later = append(c.Later, Round{})
	}
	if n > len(c.Later)+1 {
		t.Fatalf("%s: section %q is out of order", c.File, section.Name)
	}
	message := parseMessage(t, section.Data)
	switch name {
	case "upstream":
		message.Body = c.withNewlines(message.Body)
		c.Later[n-2].Upstream = message
	case "sent":
		message.Body = bytes.TrimSuffix(message.Body, []byte("\n"))
		c.Later[n-2].Sent = message
	default:
		t.Fatalf("%s: unknown section %q", c.File, section.Name)
	}
}

// answers returns what the upstream answers, in order.
func (c *Case) answers() []*Message {
	if c.Upstream == nil {
		return nil
	}
	all := []*Message{c.Upstream}
	for _, round := range c.Later {
		all = append(all, round.Upstream)
	}
	return all
}

func (c *Case) withNewlines(body []byte) []byte {
	switch c.Settings["newlines"] {
	case "crlf":
		return bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))
	case "cr":
		return bytes.ReplaceAll(body, []byte("\n"), []byte("\r"))
	}
	return body
}

func parseMessage(t testing.TB, data []byte) *Message {
	t.Helper()
	head, body, _ := bytes.Cut(data, []byte("\n\n"))
	first, headers, _ := strings.Cut(strings.TrimSuffix(string(head), "\n"), "\n")
	m := &Message{First: first, Header: http.Header{}, Body: body}
	for line := range strings.Lines(headers) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			t.Fatalf("header %q: want name: value", line)
		}
		absent := strings.HasPrefix(name, "!")
		name = textproto.CanonicalMIMEHeaderKey(strings.TrimPrefix(name, "!"))
		if absent {
			m.Header[name] = nil
			continue
		}
		m.Header.Add(name, strings.TrimSpace(value))
	}
	return m
}

// WriteRecords replaces the records in the case's file by what was recorded.
func (c *Case) WriteRecords(t testing.TB, records string) {
	t.Helper()
	data, err := os.ReadFile(c.File)
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse(data)
	for i, section := range archive.Files {
		if section.Name == "records" {
			archive.Files[i].Data = []byte(records)
		}
	}
	if err := os.WriteFile(c.File, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}
