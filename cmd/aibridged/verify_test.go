package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/internal/fakellm"
	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/rederive"
	"github.com/coder/aibridged/internal/verify"
)

// spoken is a request to a gateway, and how its client behaves.
type spoken struct {
	path, body string
	header     http.Header
	leaveAfter int // Bytes of the answer, after which the client leaves; negative: it does not.
}

// everything returns, for each format, streamed and not, a request that fills every field of a record, and requests for
// everything that can go wrong.
func everything() (all []spoken) {
	for _, format := range demoFormats() {
		for _, stream := range []bool{true, false} {
			for _, script := range []string{
				demoScript,
				`No more than "this" <b> & é. [[text: Yes.]]`,
				`[[error: 429 retry-after=1 Request too large]]`, // Else the key would rest.
				`[[error: 529]]`,
				`[[think: hm]] [[tool: f {"a":1}]] [[tool: g {}]] [[error-event: overloaded_error Too much after=3]]`,
				`[[think: hm]] [[tool: f {"a":1}]] [[cut: after=4]]`,
				`[[cut: after=0]]`,
				`[[text: Yes.]] [[no-done]]`,
			} {
				if !stream && strings.Contains(script, "[[cut") {
					continue // See TestVerifyBrokenBody.
				}
				prompt, _ := json.Marshal(script)
				all = append(all, spoken{path: format.path, body: fmt.Sprintf(format.body, stream, format.tools, prompt), leaveAfter: -1})
			}
		}
		prompt := `"[[think: hm]] [[text: some words to be read]] [[silence: 10m after=5]]"`
		all = append(all, spoken{path: format.path, body: fmt.Sprintf(format.body, true, format.tools, prompt), leaveAfter: 10})
	}
	var coded bytes.Buffer
	w := gzip.NewWriter(&coded)
	_, _ = io.WriteString(w, fmt.Sprintf(demoFormats()[1].body, true, `[]`, `"in a coding"`))
	_ = w.Close()
	return append(all,
		spoken{path: demoFormats()[1].path, body: coded.String(), header: http.Header{"Content-Encoding": {"gzip"}}, leaveAfter: -1},
		spoken{
			path: demoFormats()[2].path, body: `{"model":"m","input":[{"type":"function_call_output","call_id":"call_1","output":"x"}]}`,
			header: http.Header{"User-Agent": {"codex_exec/1"}, "Session-Id": {"s-1"}}, leaveAfter: -1,
		},
		spoken{path: "/two/v1/responses", body: `{"model":"m","input":"[[error: 429 retry-after=1 Slow down]]"}`, leaveAfter: -1}, // For both keys.
		spoken{path: "/gone/v1/responses", body: `{"model":"m","input":"Hi"}`, leaveAfter: -1},
		spoken{
			path: demoFormats()[0].path, body: `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"` + strings.Repeat("long ", 100_000) + `"}]}`,
			leaveAfter: -1,
		},
	)
}

// say sends a request. It does not check the answer.
func (s *served) say(t *testing.T, token string, what spoken) {
	t.Helper()
	s.sayIn(t.Context(), t, token, what)
}

// sayIn is say for a client that leaves when its context ends.
func (s *served) sayIn(ctx context.Context, t *testing.T, token string, what spoken) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+what.path, strings.NewReader(what.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range what.header {
		request.Header[name] = values
	}
	request.Header.Set("X-Api-Key", token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	if what.leaveAfter >= 0 {
		_, _ = io.ReadFull(response.Body, make([]byte, what.leaveAfter))
		return
	}
	_, _ = io.Copy(io.Discard, response.Body)
}

// verified runs verify, and returns what it prints.
func verified(t *testing.T, data, exchanges string, args ...string) (string, error) {
	t.Helper()
	out, _, err := run(t.Context(), append([]string{"verify", "--data-dir", data, "--exchanges", exchanges}, args...)...)
	if err != nil && !errors.Is(err, errDiffer) {
		t.Fatalf("%v\n%s", err, out)
	}
	return out, err
}

// waitForEnds waits until n interceptions have ended, and returns them.
func (s *served) waitForEnds(t *testing.T, n int) []*aibridgedserver.Interception {
	t.Helper()
	var ended []*aibridgedserver.Interception
	err := withStore(t.Context(), settings{dataDir: s.data}, func(store *store) (err error) {
		ended, err = waitForRecords(t.Context(), store, n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ended
}

// TestVerify has a gateway keep exchanges of every kind, and verifies its records with them.
func TestVerify(t *testing.T) {
	exchanges := t.TempDir()
	s := serveHere(t, "--keep-exchanges", exchanges, "--dump-dir", t.TempDir())
	out, _, err := run(t.Context(), "token", "create", "--user", "ada", "--data-dir", s.data)
	if err != nil {
		t.Fatal(err)
	}
	all := everything()
	for _, what := range all {
		s.say(t, strings.TrimSpace(out), what)
	}
	ended := s.waitForEnds(t, len(all))
	kinds := map[string]int{}
	for _, interception := range ended {
		kinds[orEmpty(interception.ErrorType)]++
	}
	for _, kind := range []string{"", "rate_limited", "overloaded", "truncated", "client_closed", "server_error"} {
		if kinds[kind] == 0 {
			t.Errorf("no interception ended with %q: %v", kind, kinds)
		}
	}

	out, err = verified(t, s.data, exchanges) // While the gateway serves.
	if want := fmt.Sprintf("%d interceptions verified, 0 differ, 0 without kept bytes\n", len(all)); out != want || err != nil {
		t.Fatalf("printed\n%swith %v, want %s", out, err, want)
	}
	if out, err = verified(t, s.data, exchanges, "--json"); err != nil || strings.Count(out, `"differences":[]`) != len(all) {
		t.Errorf("printed\n%swith %v", out, err)
	}
	checkNoSecrets(t, exchanges)
}

// TestVerifyChanges makes an interception with every kind of record, and changes its records and its kept bytes.
func TestVerifyChanges(t *testing.T) {
	exchanges := t.TempDir()
	s := serveHere(t, "--keep-exchanges", exchanges)
	out, _, err := run(t.Context(), "token", "create", "--user", "ada", "--data-dir", s.data)
	if err != nil {
		t.Fatal(err)
	}
	s.say(t, strings.TrimSpace(out), everything()[0])
	one := s.waitForEnds(t, 1)[0]
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if len(one.Prompts) != 1 || len(one.TokenUsages) != 1 || len(one.ToolUsages) != 1 || len(one.ModelThoughts) != 1 || one.ErrorType != nil {
		t.Fatalf("it has not everything: %+v", one)
	}
	age(t, exchanges)
	t.Run("records", func(t *testing.T) { checkChangedRecords(t, s.data, exchanges, one.ID) })
	t.Run("files", func(t *testing.T) { checkChangedFiles(t, s.data, exchanges, one.ID) })
}

// TestVerifyBrokenBody has an answer that is not streamed and breaks off: nothing of it reaches the client, but its
// bytes count.
func TestVerifyBrokenBody(t *testing.T) {
	exchanges := t.TempDir()
	s := serveHere(t, "--keep-exchanges", exchanges)
	out, _, err := run(t.Context(), "token", "create", "--user", "ada", "--data-dir", s.data)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range demoFormats() {
		s.say(t, strings.TrimSpace(out), spoken{
			path: format.path, body: fmt.Sprintf(format.body, false, format.tools, `"[[cut: after=4]]"`), leaveAfter: -1,
		})
	}
	for _, interception := range s.waitForEnds(t, 3) {
		if orEmpty(interception.ErrorType) != "truncated" {
			t.Errorf("ended with %v", interception.ErrorType)
		}
	}
	out, err = verified(t, s.data, exchanges)
	if !regexp.MustCompile(`^3 interceptions verified, 0 differ, 0 without kept bytes\n$`).MatchString(out) || err != nil {
		t.Errorf("printed %swith %v", out, err)
	}
}

// TestVerifyShutdown ends a gateway while it relays a stream: the records agree with the kept bytes.
func TestVerifyShutdown(t *testing.T) {
	llm := httptest.NewServer(fakellm.New(fakellm.Options{}))
	defer llm.Close()
	s, exchanges := settings{dataDir: t.TempDir()}, t.TempDir()
	g, err := newGateway(t.Context(), s, demoConfig(strings.TrimPrefix(llm.URL, "http://")),
		gatewayOptions{observers: observerOptions{keepDir: exchanges, keepFor: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(g.http.Handler)
	defer front.Close()
	token, _, err := g.plane.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	format := demoFormats()[0]
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL+format.path,
		strings.NewReader(fmt.Sprintf(format.body, true, "[]", `"[[text: some words]] [[silence: 10m after=5]]"`)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", token)
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadFull(response.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.close(now); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// The next gateway stores the records that this one had no time to store.
	if g, err = newGateway(t.Context(), s, config{}, gatewayOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = waitForRecords(t.Context(), g.plane.store, 1)
	if err := errors.Join(err, g.close(t.Context())); err != nil {
		t.Fatal(err)
	}
	out, err := verified(t, s.dataDir, exchanges)
	if out != "1 interception verified, 0 differ, 0 without kept bytes\n" || err != nil {
		t.Errorf("printed %swith %v", out, err)
	}
	if out, _, err := run(t.Context(), "interceptions", "--json", "--data-dir", s.dataDir); err != nil || !strings.Contains(out, `"error_type":"truncated"`) {
		t.Errorf("recorded %s, %v", out, err)
	}
}

// checkNoSecrets checks that the provider's key is not in the kept files.
func checkNoSecrets(t *testing.T, exchanges string) {
	t.Helper()
	for file, err := range kept.Files(exchanges) {
		if err != nil {
			t.Fatal(err)
		}
		exchange, err := kept.ReadFile(exchanges, file.Interception, file.Round)
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%+v %s", exchange, exchange.Request); strings.Contains(text, "a-key-of-no-account") {
			t.Errorf("the provider's key was kept: %.500s", text)
		}
	}
}

// copyDatabase copies a database that is not in use, runs statements on the copy, in which $1 is an interception's id,
// and returns its data directory.
func copyDatabase(t *testing.T, data, id string, statements ...string) string {
	t.Helper()
	content, err := os.ReadFile(settings{dataDir: data}.database())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := settings{dataDir: dir}.database()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	key := uuid.MustParse(id)
	for _, statement := range statements {
		result, err := db.Writer.ExecContext(t.Context(), statement, key[:])
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		if n, _ := result.RowsAffected(); n == 0 {
			t.Fatalf("%s: no row", statement)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkChangedRecords changes a row of each kind: verify reports the field of each change, and nothing else.
func checkChangedRecords(t *testing.T, data, exchanges, id string) {
	const (
		start = ` WHERE id = $1`
		its   = ` WHERE interception_id = $1`
	)
	for change, want := range map[string]string{
		`UPDATE interceptions SET model = 'gpt-other'` + start:            `model: recorded "gpt-other", the bytes say "fake-messages"`,
		`UPDATE interceptions SET client = 'Codex'` + start:               `client: recorded "Codex", the bytes say "Unknown"`,
		`UPDATE interceptions SET client_session_id = 's'` + start:        `client_session_id: recorded "s", the bytes say ""`,
		`UPDATE interceptions SET user_agent = 'x'` + start:               `user_agent: recorded "x", the bytes say "Go-http-client/1.1"`,
		`UPDATE interceptions SET correlating_tool_call_id = 'c'` + start: `correlating_tool_call_id: recorded "c", the bytes say ""`,
		`UPDATE interceptions SET request_bytes = 1` + start:              `request_bytes: recorded 1, the bytes say \d+`,
		`UPDATE interceptions SET request_sha256 = x'00'` + start:         `request_sha256: recorded "00", the bytes say "[0-9a-f]{64}"`,
		`UPDATE interceptions SET request_sha256 = NULL` + start:          `request_sha256: recorded null, the bytes say "[0-9a-f]{64}"`,

		`UPDATE interceptions SET error_type = 'timeout'` + start:       `error_type: recorded "timeout", the bytes say ""`,
		`UPDATE interceptions SET error_type = 'client_closed'` + start: `error_type: recorded "client_closed", the bytes say ""`,
		`UPDATE interceptions SET response_bytes = 1000000` + start:     `response_bytes: recorded 1000000, the bytes say \d+`,
		`UPDATE interceptions SET response_sha256 = x'01'` + start:      `response_sha256: recorded "01", the bytes say "[0-9a-f]{64}"`,

		`UPDATE token_usages SET input_tokens = input_tokens + 1` + its:                                                  `token_usages\[0\].input_tokens: recorded 121, the bytes say 120`,
		`UPDATE token_usages SET output_tokens = 0` + its:                                                                `token_usages\[0\].output_tokens: recorded 0, the bytes say 34`,
		`UPDATE token_usages SET cache_read_input_tokens = 0` + its:                                                      `token_usages\[0\].cache_read_input_tokens: recorded 0, the bytes say 1000`,
		`UPDATE token_usages SET cache_write_input_tokens = 0` + its:                                                     `token_usages\[0\].cache_write_input_tokens: recorded 0, the bytes say 200`,
		`UPDATE token_usages SET msg_id = ''` + its:                                                                      `token_usages\[0\].msg_id: recorded "", the bytes say "\w+"`,
		`UPDATE token_usages SET metadata = '{}'` + its:                                                                  `token_usages\[0\].metadata\[model\]: recorded null, the bytes say "fake-messages"`,
		`DELETE FROM token_usages` + its:                                                                                 `token_usages: recorded \[\], the bytes say \[{`,
		`INSERT INTO token_usages SELECT interception_id, zeroblob(16), 0, '', 1, 1, 1, 1, '{}' FROM token_usages` + its: `token_usages: recorded \[{.*`,

		`UPDATE prompt_usages SET prompt = 'What?'` + its:                       `prompts\[0\].prompt: recorded "What\?", the bytes say "What is in this directory\?`,
		`UPDATE prompt_usages SET metadata = '{"client_generated":true}'` + its: `prompts\[0\].metadata\[client_generated\]: recorded true, the bytes say null`,
		`DELETE FROM prompt_usages` + its:                                       `prompts: recorded \[\], the bytes say \[{`,

		`UPDATE tool_usages SET tool = 'rm'` + its:             `tool_usages\[0\].tool: recorded "rm", the bytes say "list_files"`,
		`UPDATE tool_usages SET tool_call_id = 'x'` + its:      `tool_usages\[0\].tool_call_id: recorded "x", the bytes say "\w+"`,
		`UPDATE tool_usages SET item_id = 'x'` + its:           `tool_usages\[0\].item_id: recorded "x", the bytes say ""`,
		`UPDATE tool_usages SET input = '{}'` + its:            `tool_usages\[0\].input: recorded "{}", the bytes say "{\\"path\\":\\".\\"}"`,
		`DELETE FROM tool_usages` + its:                        `tool_usages: recorded \[\], the bytes say \[{`,
		`UPDATE model_thoughts SET content = 'Ah.'` + its:      `model_thoughts\[0\].content: recorded "Ah.", the bytes say "A listing will tell."`,
		`UPDATE model_thoughts SET metadata = '{"a":2}'` + its: `model_thoughts\[0\].metadata\[a\]: recorded 2, the bytes say null`,
		`DELETE FROM model_thoughts` + its:                     `model_thoughts: recorded \[\], the bytes say \[{`,
		`UPDATE model_thoughts SET metadata = 'no JSON'` + its: `metadata: recorded metadata is no JSON object: `,
		`DELETE FROM interceptions` + start:                    `interception: its start is not recorded`,
		`UPDATE interceptions SET ended_at = NULL` + start:     `interception: its end is not recorded`,
	} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			out, err := verified(t, copyDatabase(t, data, id, change), exchanges)
			if err == nil {
				t.Errorf("no error:\n%s", out)
			}
			report, ok := strings.CutSuffix(out, "1 interception verified, 1 differ, 0 without kept bytes\n")
			if !ok {
				t.Errorf("printed %s", out)
			}
			found := 0
			for line := range strings.Lines(report) {
				if !strings.HasPrefix(line, id+" ") {
					t.Errorf("printed %s", line)
				}
				if regexp.MustCompile(`^\S+ ` + want).MatchString(line) {
					found++
				}
			}
			if found != 1 {
				t.Errorf("printed %swant %s", report, want)
			}
		})
	}

	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		if out, err := verified(t, copyDatabase(t, data, id), exchanges); err != nil {
			t.Errorf("printed %swith %v", out, err)
		}
	})
	t.Run("answer lost with its gateway", func(t *testing.T) {
		t.Parallel()
		lost := []string{`UPDATE interceptions SET error_type = 'truncated', response_bytes = NULL, response_sha256 = NULL` + start}
		for _, table := range []string{"token_usages", "tool_usages", "model_thoughts"} {
			lost = append(lost, `DELETE FROM `+table+its)
		}
		want := "1 interception verified (1 in part), 0 differ, 0 without kept bytes\n"
		if out, err := verified(t, copyDatabase(t, data, id, lost...), exchanges); err != nil || out != want {
			t.Errorf("printed %swith %v", out, err)
		}
		lost = append(lost, `UPDATE interceptions SET model = 'other'`+start)
		if out, err := verified(t, copyDatabase(t, data, id, lost...), exchanges); err == nil || !strings.Contains(out, "model: ") {
			t.Errorf("and another model: printed %swith %v", out, err)
		}
	})
	t.Run("since", func(t *testing.T) {
		t.Parallel()
		longAgo := copyDatabase(t, data, id, `UPDATE interceptions SET started_at = 6, ended_at = 7, error_type = 'timeout' WHERE id = $1`)
		if out, err := verified(t, longAgo, exchanges, "--since", "1h"); err != nil || !strings.HasPrefix(out, "0 interceptions verified, 0 differ") {
			t.Errorf("printed %swith %v", out, err)
		}
	})
	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		changed := copyDatabase(t, data, id, `UPDATE interceptions SET model = 'gpt-other'`+start)
		out, err := verified(t, changed, exchanges, "--json")
		want := `{"interception_id":"` + id + `","kept":"whole","differences":[{"field":"model","recorded":"gpt-other","bytes":"fake-messages"}]}` + "\n" +
			`{"unread":[],"unread_others":0}` + "\n" +
			`{"sums":{"verified":1,"verified_in_part":0,"differ":1,"without_kept_bytes":0}}` + "\n"
		if err == nil || out != want {
			t.Errorf("printed %s with %v", out, err)
		}
	})
}

// age makes all files so old that verify no longer expects their records to be under way.
func age(t *testing.T, exchanges string) {
	t.Helper()
	for file, err := range kept.Files(exchanges) {
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-2*time.Minute - time.Second)
		if err := os.Chtimes(file.Path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// checkChangedFiles changes the kept files of one interception.
func checkChangedFiles(t *testing.T, data, exchanges, id string) {
	finished, until := kept.Path(exchanges, uuid.MustParse(id), 0)
	file, err := os.ReadFile(finished)
	if err != nil {
		t.Fatal(err)
	}
	exchange, err := kept.ReadFile(exchanges, uuid.MustParse(id), 0)
	if err != nil {
		t.Fatal(err)
	}
	const (
		same    = "1 interception verified, 0 differ, 0 without kept bytes\n"
		differs = "1 interception verified, 1 differ, 0 without kept bytes\n"
		inPart  = "1 interception verified (1 in part), 0 differ, 0 without kept bytes\n"
		notKept = "0 interceptions verified, 0 differ, 1 without kept bytes\n"
	)
	moreTokens := bytes.Replace(exchange.Response, []byte(`"output_tokens":34`), []byte(`"output_tokens":35`), 1)
	behindEnd := append(bytes.Clone(exchange.Response), ": bye\n"...)
	for name, test := range map[string]struct {
		content []byte // Nil: no file.
		where   string
		lines   []string // Regular expressions, without the id.
		sums    string
	}{
		"unchanged":  {file, finished, nil, same},
		"removed":    {nil, finished, nil, notKept},
		"cut":        {file[:len(file)-9], finished, []string{`kept exchange: round 0: kept exchange is damaged: .*EOF`}, differs},
		"emptied":    {[]byte{}, finished, []string{`kept exchange: round 0: kept exchange is damaged: it is empty`}, differs},
		"flipped":    {flipped(file), finished, []string{`kept exchange: round 0: kept exchange is damaged: .*`}, differs},
		"unfinished": {file[:len(file)-9], until, nil, inPart},
		"begun":      {[]byte{}, until, nil, notKept},
		"other answer": {rewritten(t, exchange, moreTokens), finished, []string{
			`response_sha256: .*`, `token_usages\[0\].output_tokens: recorded 34, the bytes say 35`, `token_usages\[0\].metadata\[raw\]: .*`,
		}, differs},
		"shorter answer":          {rewritten(t, exchange, exchange.Response[:len(exchange.Response)-1]), finished, []string{`response_bytes: .*`, `response_sha256: .*`}, differs},
		"more behind its own end": {rewritten(t, exchange, behindEnd), finished, nil, same},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{finished, until} {
				if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			if test.content != nil {
				if err := os.WriteFile(test.where, test.content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, err := verified(t, data, exchanges)
			want := "^"
			for _, line := range test.lines {
				want += id + " " + line + "\n"
			}
			if want += regexp.QuoteMeta(test.sums) + "$"; !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("printed\n%swant\n%s", out, want)
			}
			if (err != nil) != (test.sums == differs) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func flipped(file []byte) []byte {
	file = bytes.Clone(file)
	file[len(file)/2] ^= 1
	return file
}

// rewritten returns the file of an exchange with another answer of the upstream.
func rewritten(t *testing.T, e *kept.Exchange, response []byte) []byte {
	t.Helper()
	encoder, err := kept.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	e.End.ResponseBytes = int64(len(response))
	head, err := kept.HeadSection(e.Head)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := kept.AnswerSection(*e.Answer)
	if err != nil {
		t.Fatal(err)
	}
	end, err := kept.EndSection(*e.End)
	if err != nil {
		t.Fatal(err)
	}
	return encoder.Append(nil, head, kept.RequestSection(e.Request), answer, kept.ResponseSection(response), end)
}

// TestContrast shows values that are too long for a line.
func TestContrast(t *testing.T) {
	long := strings.Repeat("é", 500)
	for _, test := range []struct{ one, other, wantOne, wantOther string }{
		{`"a"`, `"b"`, `"a"`, `"b"`},
		{long + "a", long + "b", "…" + long[:2*shownBefore] + "a", "…" + long[:2*shownBefore] + "b"},
		{long, "x", long[:2*longestShown] + "…", "x"},
		{"x" + long, "x", "x" + long[:2*longestShown-2] + "…", "x"},
		{long, long[:600], "…" + long[:2*longestShown] + "…", "…" + long[:2*shownBefore]},
	} {
		if one, other := contrast(test.one, test.other); one != test.wantOne || other != test.wantOther {
			t.Errorf("%s\n%s", one, other)
		}
	}
}

// TestVerifyHelp checks that the help says what verify cannot tell.
func TestVerifyHelp(t *testing.T) {
	out, _, err := run(t.Context(), "verify", "--help")
	if err != nil || !strings.Contains(out, "cannot tell") || !strings.Contains(out, "--since") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestVerdictUnread prints what no decoder reads.
func TestVerdictUnread(t *testing.T) {
	var unread verify.Unread
	unread.Add(verify.Verdict{ProviderName: "one", Model: "m\x1b", Unread: rederive.Unread{
		Members: map[string]int{"dreams": 1}, Events: map[string]int{"response.dream": 3},
	}})
	for name, test := range map[string]struct {
		writer func(io.Writer) verdictWriter
		want   string
	}{
		"text": {newVerdictText, `not read: event type "response.dream", provider one, model "m\x1b", 3 times` + "\n" +
			`not read: usage member "dreams", provider one, model "m\x1b", 1 time` + "\n"},
		"JSON": {newVerdictJSON, `{"unread":[{"provider_name":"one","model":"m\u001b","kind":"event type","name":"response.dream","count":3},` +
			`{"provider_name":"one","model":"m\u001b","kind":"usage member","name":"dreams","count":1}],"unread_others":0}` + "\n"},
	} {
		var out bytes.Buffer
		if err := test.writer(&out).unread(unread.Counts()); err != nil || out.String() != test.want {
			t.Errorf("%s: printed %s with %v", name, out.String(), err)
		}
	}
}
