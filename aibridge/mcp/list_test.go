package mcp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"cdr.dev/slog/v3"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

func TestListReadsAllPages(t *testing.T) {
	s := newRealServer(t)
	s.add("one", "two", "three", "four", "five", "six", "seven")
	p := connect(t, ProxyOptions{ID: "srv", URL: s.url + "?key=abcdefgh"})
	if got, want := names(p.Tools()), []string{"five", "four", "one", "seven", "six", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("tools %v, want %v", got, want)
	}
	if !slices.IsSortedFunc(p.Tools(), byID) {
		t.Errorf("not sorted by ID: %v", p.Tools())
	}
	tool := p.Tools()[0]
	want := Tool{ID: "bmcp_srv_five", ServerID: "srv", ServerURL: s.url, Name: "five", Description: "does five"}
	tool.InputSchema = nil
	if fmt.Sprint(tool) != fmt.Sprint(want) {
		t.Errorf("tool %+v, want %+v", tool, want)
	}
}

func TestListKeepsTheWholeSchema(t *testing.T) {
	schema := `{"type":"object","properties":{"a":{"oneOf":[{"$ref":"#/$defs/x"},{"const":12345678901234567890}]}},` +
		`"$defs":{"x":{"type":"string","pattern":"^<&>$"}},"additionalProperties":false,"x-unknown":[1,{"b":null}]}`
	for name, list := range map[string]func(*testing.T) string{
		"mcp-go": func(t *testing.T) string {
			s := newRealServer(t)
			s.AddTool(mcpgo.NewToolWithRawSchema("tool", "", json.RawMessage(schema)), nil)
			return s.url
		},
		"as it comes": func(t *testing.T) string {
			return rawServer{"tools/list": answerWith(`{"tools":[{"name":"tool","inputSchema":` + schema + `}]}`)}.start(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got, want any
			p := connect(t, ProxyOptions{URL: list(t)})
			decode(t, p.Tools()[0].InputSchema, &got)
			decode(t, []byte(schema), &want)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("schema %s, want %s", p.Tools()[0].InputSchema, schema)
			}
		})
	}
}

func decode(t *testing.T, data []byte, into *any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		t.Fatal(err)
	}
}

func TestAllowAndDeny(t *testing.T) {
	s := newRealServer(t)
	s.add("read_file", "read_secret", "write_file", "weird.name")
	for name, test := range map[string]struct {
		allow, deny string
		want        []string
	}{
		"neither":           {"", "", []string{"read_file", "read_secret", "weird.name", "write_file"}},
		"allow":             {"^read_", "", []string{"read_file", "read_secret"}},
		"deny":              {"", "secret", []string{"read_file", "weird.name", "write_file"}},
		"deny wins":         {"^read_", "secret", []string{"read_file"}},
		"on the raw name":   {`^weird\.name$`, "^bmcp_", []string{"weird.name"}},
		"nothing is left":   {"nothing", "", nil},
		"everything denied": {"file", "file", nil},
	} {
		t.Run(name, func(t *testing.T) {
			options := ProxyOptions{URL: s.url}
			if test.allow != "" {
				options.Allow = regexp.MustCompile(test.allow)
			}
			if test.deny != "" {
				options.Deny = regexp.MustCompile(test.deny)
			}
			p := connect(t, options)
			if got := names(p.Tools()); !slices.Equal(got, test.want) {
				t.Errorf("tools %v, want %v", got, test.want)
			}
			if _, err := p.Call(t.Context(), "bmcp_srv_read_secret", nil); slices.Contains(test.want, "read_secret") != (err == nil) {
				t.Errorf("Call of the secret: %v", err)
			}
		})
	}
}

func TestEachToolThatIsLeftOutHasAReason(t *testing.T) {
	tools := `{"name":"string","inputSchema":{"type":"string"}},{"name":7},{"name":"twice","inputSchema":{"type":"object"}},` +
		`{"name":"twice","description":"another","inputSchema":{"type":"object"}},{"name":"write","inputSchema":{"type":"object"}},` +
		`{"name":"secret","inputSchema":{"type":"object"}}`
	for i := range maxTools + 3 {
		tools += fmt.Sprintf(`,{"name":"t%d","inputSchema":{"type":"object"}}`, i)
	}
	var left []string
	connect(t, ProxyOptions{
		URL:   rawServer{"tools/list": answerWith(`{"tools":[` + tools + `]}`)}.start(t),
		Allow: regexp.MustCompile("^t|secret"), Deny: regexp.MustCompile("secret"),
		LeftOut: func(name string, why error) { left = append(left, name+": "+why.Error()) },
	})
	want := []string{
		"string: the input is not an object",
		": json: cannot unmarshal number into Go struct field listedTool.name of type string",
		"twice: another tool of this name comes before it",
		"write: the expression that allows tools does not match its name",
		"secret: the expression that denies tools matches its name",
		fmt.Sprintf("t%d: %s", maxTools-1, errBeyondLimit), // One of the places is that of twice.
	}
	if !slices.Equal(left, want) {
		t.Errorf("left out:\n%s\nwant:\n%s", strings.Join(left, "\n"), strings.Join(want, "\n"))
	}
}

func TestListIsBounded(t *testing.T) {
	tool := func(name string, more string) string {
		return fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object"%s}}`, name, more)
	}
	var many []string
	for i := range maxTools + 100 {
		many = append(many, tool(fmt.Sprint("tool", i), ""))
	}
	var big []string
	for i := range 30 {
		big = append(big, tool(fmt.Sprint("tool", i), `,"x":"`+strings.Repeat("x", 200<<10)+`"`))
	}
	for name, test := range map[string]struct {
		tools  []string
		want   int
		capped string
	}{
		"too many":        {many, maxTools, "true"},
		"too much of all": {big, maxListBytes / (200<<10 + 100), "true"},
		"unusable": {[]string{
			tool("deep", `,"x":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)),
			tool("large", `,"x":"`+strings.Repeat("x", maxToolBytes)+`"`),
			`{"name":"string","inputSchema":{"type":"string"}}`,
			`{"name":"array","inputSchema":[]}`,
			tool("", ""), `"text"`, `null`, `{"name":7}`,
			tool("good", ""), tool("good", `,"x":1`), tool("good", ""),
		}, 1, "false"},
	} {
		t.Run(name, func(t *testing.T) {
			l, logger := newLogs()
			list := answerWith(`{"tools":[` + strings.Join(test.tools, ",") + `]}`)
			p := connect(t, ProxyOptions{URL: rawServer{"tools/list": list}.start(t), Logger: logger})
			if got := len(p.Tools()); got != test.want {
				t.Errorf("%d tools, want %d", got, test.want)
			}
			entry := l.await(t, "MCP server has tools that are left out")
			if got := field(entry, "more_than_limit"); got != test.capped {
				t.Errorf("logged %v", entry.Fields)
			}
			if name == "unusable" && field(entry, "unusable") != "9" {
				t.Errorf("logged %v", entry.Fields)
			}
		})
	}
}

func TestEndlessPagesEnd(t *testing.T) {
	pages := 0
	p := connect(t, ProxyOptions{URL: rawServer{"tools/list": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
		if pages++; pages > maxPages {
			t.Errorf("page %d was asked for", pages)
		}
		answer(w, call, fmt.Sprintf(`{"tools":[{"name":"tool%d","inputSchema":{"type":"object"}}],"nextCursor":"%d"}`, pages%7, pages))
	}}.start(t)})
	if got := len(p.Tools()); got != 7 || pages != maxPages {
		t.Errorf("%d tools on %d pages", got, pages)
	}
}

func TestAThousandToolsOnManyPages(t *testing.T) {
	const all, each = 1000, 7
	p := connect(t, ProxyOptions{URL: rawServer{"tools/list": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
		var from int
		_, _ = fmt.Sscan(call.Params.Cursor, &from) // The first page has no cursor.
		var tools []string
		next := ""
		for i := from; i < min(from+each, all); i++ {
			tools = append(tools, fmt.Sprintf(`{"name":"tool%d","inputSchema":{"type":"object","properties":{}}}`, i))
		}
		if from+each < all {
			next = fmt.Sprintf(`,"nextCursor":"%d"`, from+each)
		}
		answer(w, call, `{"tools":[`+strings.Join(tools, ",")+`]`+next+`}`)
	}}.start(t)})
	if got := len(p.Tools()); got != all {
		t.Errorf("%d tools", got)
	}
}

// TestCursors has servers whose pages name cursors that end a listing, or do not.
func TestCursors(t *testing.T) {
	for name, test := range map[string]struct {
		stateless bool
		next      map[string]string // The member nextCursor of the page that a cursor asks for; "none" asks for the first.
		want      []string          // The pages that are asked for.
	}{
		"none":                {false, map[string]string{"none": ``}, []string{"none"}},
		"null":                {false, map[string]string{"none": `null`}, []string{"none"}},
		"empty":               {false, map[string]string{"none": `""`}, []string{"none"}},
		"empty is a cursor":   {true, map[string]string{"none": `""`, "": `"b"`, "b": ``}, []string{"none", "", "b"}},
		"empty again":         {true, map[string]string{"none": `""`, "": `""`}, []string{"none", ""}},
		"one that repeats":    {false, map[string]string{"none": `"a"`, "a": `"a"`}, []string{"none", "a"}},
		"several that repeat": {true, map[string]string{"none": `"a"`, "a": `"b"`, "b": `"a"`}, []string{"none", "a", "b"}},
		"odd characters":      {false, map[string]string{"none": `"\u0000 ☃"`, "\x00 ☃": ``}, []string{"none", "\x00 ☃"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			raw := rawServer{"tools/list": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
				page := "none"
				if call.Params.HasCursor {
					page = call.Params.Cursor
				}
				got = append(got, page)
				next := test.next[page]
				if next != "" {
					next = `,"nextCursor":` + next
				}
				answer(w, call, `{"tools":[{"name":"tool`+fmt.Sprint(len(got))+`"},{"name":"everywhere"}]`+next+`}`)
			}}
			if test.stateless {
				raw["server/discover"] = answerWith(statelessDiscovery)
			}
			l, logger := newLogs()
			p := connect(t, ProxyOptions{URL: raw.start(t), Logger: logger})
			if !slices.Equal(got, test.want) || len(p.Tools()) != len(got)+1 {
				t.Errorf("pages %q, want %q; %d tools", got, test.want, len(p.Tools()))
			}
			for len(l) > 0 {
				if entry := <-l; entry.Level >= slog.LevelWarn {
					t.Errorf("logged %v", entry)
				}
			}
		})
	}
}

func TestServerWithoutTools(t *testing.T) {
	p := connect(t, ProxyOptions{URL: rawServer{
		"initialize": answerWith(`{"protocolVersion":"2025-06-18","capabilities":{}}`),
		"tools/list": func(_ http.ResponseWriter, _ *http.Request, _ rawCall) { t.Error("asked for a list") },
	}.start(t)})
	if tools := p.Tools(); len(tools) != 0 {
		t.Errorf("tools %v", tools)
	}
}

func TestToolsFollowTheServer(t *testing.T) {
	s := newRealServer(t)
	s.add("one", "two")
	l, logger := newLogs()
	p := connect(t, ProxyOptions{URL: s.url, Logger: logger})
	before := p.Tools()

	// A test cannot know when the stream of notifications is open. A change before that shows once it is open.
	s.add("three")
	for field(l.await(t, "MCP server's tools"), "tools") != "3" {
	}
	if got, want := names(p.Tools()), []string{"one", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("tools %v after one was added, want %v", got, want)
	}
	if got := names(before); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("a snapshot changed to %v", got)
	}
	if _, err := p.Call(t.Context(), "bmcp_srv_three", nil); err != nil {
		t.Errorf("Call of the new tool: %v", err)
	}

	s.DeleteTools("one")
	l.await(t, "MCP server's tools")
	if got, want := names(p.Tools()), []string{"three", "two"}; !slices.Equal(got, want) {
		t.Errorf("tools %v after one was removed, want %v", got, want)
	}

	s.AddTool(mcpgo.NewTool("two", mcpgo.WithDescription("does something else now")), nil)
	l.await(t, "MCP server altered its tools")
	if got := p.Tools()[1].Description; got != "does something else now" {
		t.Errorf("description %q", got)
	}
}

// TestChangesBeforeTheStreamShow has a server whose tools change before its stream of notifications is open.
func TestChangesBeforeTheStreamShow(t *testing.T) {
	listed, opened := make(chan struct{}), make(chan struct{})
	var first sync.Once
	l, logger := newLogs()
	connect(t, ProxyOptions{Logger: logger, URL: rawServer{
		"tools/list": func(w http.ResponseWriter, _ *http.Request, call rawCall) {
			tools := `{"name":"one","inputSchema":{"type":"object"}}`
			select {
			case <-opened:
				tools += `,{"name":"two","inputSchema":{"type":"object"}}`
			default:
			}
			answer(w, call, `{"tools":[`+tools+`]}`)
			first.Do(func() { close(listed) })
		},
		http.MethodGet: func(w http.ResponseWriter, r *http.Request, _ rawCall) {
			<-listed
			close(opened)
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	}.start(t)})
	for field(l.await(t, "MCP server's tools"), "tools") != "2" {
	}
}

func TestUnchangedToolsAreTheSameSlice(t *testing.T) {
	s := newRealServer(t)
	s.add("one", "two")
	p := connect(t, ProxyOptions{URL: s.url})
	before := p.Tools()
	if err := p.relist(); err != nil {
		t.Fatal(err)
	}
	if !sameSnapshot(before, p.Tools()) {
		t.Error("another slice of the same tools")
	}
}
