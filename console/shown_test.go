package console_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/console"
	"github.com/coder/aibridged/internal/visible"
)

// Nothing that commands a terminal or changes the direction of text is in a page or a file, wherever it was written, and neither
// is what looks like a provider's key.
func TestNothingHiddenIsShown(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	const key = "sk-fake-upstream-key-1234567890"
	hostile := "a\x1b[31mb\u009b1m\x07\u202egnp\u2066\u200f " + key + " end"
	id := newID()
	c.store(t, shot{id: id, user: c.adaID, text: hostile, failed: true}, shot{id: newID(), user: c.adaID, text: hostile, agent: hostile})
	c.live.requests = []console.Request{{ID: 1, UserID: c.adaID, User: hostile, Provider: hostile, Model: hostile, Client: hostile}}
	session, err := c.of.FindSession(t.Context(), reports.Operator(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"?", "?by=user", "usage?by=user", "usage?by=model", "usage?by=client", "usage?by=tool", "usage?by=session", "sessions?", "sessions?q=end", "interceptions?",
		fmt.Sprint("sessions/", session, "?"), "interceptions/" + id + "?", "live?", "health?", "access?", "sessions?" + url.Values{"q": {hostile}}.Encode(),
		"interceptions?" + url.Values{"model": {hostile}}.Encode(),
	} {
		for _, format := range []string{"", "&format=csv", "&format=json"} {
			w := c.root.get(path + format)
			if w.Code != http.StatusOK {
				t.Fatalf("%s%s: %d", path, format, w.Code)
			}
			body := w.Body.String()
			if at := strings.IndexFunc(body, visible.IsHidden); at >= 0 {
				t.Errorf("%s%s has %q", path, format, body[max(at-60, 0):min(at+60, len(body))])
			}
			if at := strings.Index(body, key); at >= 0 {
				t.Errorf("%s%s has a key: %q", path, format, body[max(at-60, 0):at+10])
			}
			if format == "&format=json" && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s is no JSON", path)
			}
		}
	}
}

// However large a text is, a page has its beginning and leads to all of it.
func TestLargeTexts(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	id := newID()
	large := strings.Repeat(" ", 4<<20) + "tail"
	c.store(t, shot{id: id, user: c.adaID, prompt: large})
	for _, path := range []string{"interceptions/" + id, "sessions/" + id} {
		began := time.Now()
		page := c.ada.page(t, path)
		if len(page) > 3<<20 || !strings.Contains(page, "Only the beginning of ") || !strings.Contains(page, ">all of it</a>") {
			t.Errorf("%s has %d bytes", path, len(page))
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %v", path, took)
		}
	}
	if all := c.ada.page(t, "interceptions/"+id+"?format=json"); len(all) < 4<<20 || !strings.Contains(all, " tail") {
		t.Errorf("the file has %d bytes", len(all))
	}
}

// A file of a session has all of its steps, a turn as one, and a page has a part.
func TestAllSteps(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	var shots []shot
	for n := range 450 {
		s := shot{id: newID(), user: c.adaID, session: "long", agent: "scout"}
		if n%300 == 0 {
			s.agent, s.prompt = "", "go on"
		}
		shots = append(shots, s)
	}
	c.store(t, shots...)
	rows, err := csv.NewReader(c.ada.get("sessions/long?format=csv").Body).ReadAll()
	if err != nil || len(rows) != 451 || rows[450][0] != "2" {
		t.Errorf("%d rows, %v, %v", len(rows), err, rows[len(rows)-1])
	}
	var timeline reports.Timeline
	if err := json.Unmarshal(c.ada.get("sessions/long?format=json").Body.Bytes(), &timeline); err != nil || len(timeline.Turns) != 2 ||
		len(timeline.Turns[0].Steps) != 300 || timeline.Turns[0].Requests != 300 || timeline.Next != "" {
		t.Errorf("%d turns, %v", len(timeline.Turns), err)
	}
	c.root.page(t, "sessions/long?format=json")
	if log, err := c.of.AccessLog(t.Context(), reports.Operator(), 10); err != nil || len(log) != 1 {
		t.Errorf("one look is noted as %+v, %v", log, err)
	}
	if page := c.ada.page(t, "sessions/long"); strings.Count(page, `id="step-`) != 200 || !strings.Contains(page, `rel="next"`) {
		t.Errorf("the page has %d steps", strings.Count(page, `id="step-`))
	}
}

// Pages and the names of files say which range they are about, and a range within a quarter of an hour is refused.
func TestRangesAreSaid(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	const over = "from=2026-11-20T10:07:00Z&to=2026-11-20T11:59:00Z&zone=UTC"
	for _, path := range []string{"?", "usage?by=session&", "usage?by=day&", "interceptions?", "sessions?"} {
		if page := c.root.page(t, path+over); !strings.Contains(page, "What began from 2026-11-20 10:00 until 2026-11-20 11:45.") {
			t.Errorf("%s does not say its range", path)
		}
		if name := c.root.get(path + over + "&format=csv").Header().Get("Content-Disposition"); !strings.Contains(name, "-20261120T1000Z-20261120T1145Z.csv") {
			t.Errorf("%s is saved as %s", path, name)
		}
		if w := c.root.get(path + "from=2026-11-20T10:07:00Z&to=2026-11-20T10:12:00Z"); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Files have what a page says in words: ids, estimates, and what has no price. Names are those of JSON everywhere.
func TestColumnsOfFiles(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	for path, want := range map[string][]string{
		"sessions?":      {"Session", "Session of the client", "Estimated in USD", "Unpriced", "Unpriced tokens"},
		"interceptions?": {"Interception", "Estimated in USD", "Unpriced", "Unpriced tokens", "First byte"}, "usage?by=session": {"ID", "Estimated in USD", "First byte"},
		"sessions/" + c.adaSession + "?": {"Estimated in USD"}, "usage?by=tool": {"Calls"}, "?": {"Estimated in USD"},
	} {
		rows, err := csv.NewReader(c.root.get(path + "&format=csv").Body).ReadAll()
		if err != nil || len(rows) < 2 {
			t.Fatal(path, err)
		}
		for _, name := range want {
			if !strings.Contains(strings.Join(rows[0], "|")+"|", name+"|") {
				t.Errorf("%s has the columns %v", path, rows[0])
			}
		}
		for _, row := range rows {
			if len(row) != len(rows[0]) {
				t.Errorf("%s: %v", path, row)
			}
		}
		page := c.root.page(t, path)
		if strings.Contains(page, ">Estimated in USD<") {
			t.Errorf("%s shows what is for files", path)
		}
	}
	c.live.requests = []console.Request{{ID: 7, UserID: c.adaID, InterceptionID: "x"}}
	if live := c.root.page(t, "live?format=json"); !strings.Contains(live, `"user_id"`) || !strings.Contains(live, `"interception_id"`) || strings.Contains(live, "UserID") {
		t.Errorf("%s", live)
	}
}

// Sessions of others that have the same id of a client are named to who may see them.
func TestNamesakes(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	c.store(t, shot{id: newID(), user: c.adaID, session: "same", prompt: "of ada"}, shot{id: newID(), user: c.bobID, session: "same", prompt: "of bob"})
	if page := c.root.page(t, "sessions/same"); !strings.Contains(page, "of bob") || !strings.Contains(page, "Other sessions have this id, too: <a ") && !strings.Contains(page, " of ada with ") {
		t.Errorf("%s", page)
	}
	if page := c.ada.page(t, "sessions/same"); !strings.Contains(page, "of ada") || strings.Contains(page, "Other sessions") || strings.Contains(page, "bob") {
		t.Errorf("%s", page)
	}
}

// Who tries tokens that are not valid is held up, and others are not.
func TestTriedTokens(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	codes := make(chan int)
	const tried = 900
	for n := range tried {
		go func() {
			codes <- browser{console: c}.post("sign-in", url.Values{"token": {fmt.Sprintf("ABCDEFGH%02d-%026d", n%90, n)}}).Code
		}()
	}
	seen := map[int]int{}
	for range tried {
		if code := <-codes; code == http.StatusServiceUnavailable && seen[code] == 0 {
			c.ada.page(t, "live")
			seen[code]++
		} else {
			seen[code]++
		}
	}
	if seen[http.StatusForbidden] < 400 || seen[http.StatusServiceUnavailable] == 0 || len(seen) != 2 {
		t.Errorf("answers %v", seen)
	}
}
