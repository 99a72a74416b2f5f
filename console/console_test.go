package console_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/console"
)

// team is a house with two users who have asked something each, and an administrator.
type team struct {
	house

	ada, bob, root                browser
	adaID, bobID, adaShot, bobOne string
	adaSession, bobSession        string
}

func newTeam(t *testing.T) team {
	t.Helper()
	c := team{house: newHouse(t), adaShot: newID(), bobOne: newID()}
	ada, adaKey := c.signIn(t, "ada", false)
	bob, bobKey := c.signIn(t, "bob", false)
	c.root, _ = c.signIn(t, "root", true)
	c.ada, c.bob, c.adaID, c.bobID = ada, bob, adaKey.UserID, bobKey.UserID
	c.store(t,
		shot{id: c.adaShot, user: c.adaID, session: "ada-session", prompt: "fix the parser"},
		shot{id: newID(), user: c.adaID, session: "ada-session", prompt: "look around", agent: "scout"},
		shot{id: c.bobOne, user: c.bobID, session: "bob-session", prompt: "deploy the zebra", failed: true},
	)
	for name, to := range map[string]*string{"ada-session": &c.adaSession, "bob-session": &c.bobSession} {
		id, err := c.of.FindSession(t.Context(), reports.Operator(), name)
		if err != nil {
			t.Fatal(err)
		}
		*to = fmt.Sprint(id)
	}
	return c
}

// Budgets are shown to those whom they are about, and the overview warns of one of which little is left: never of another's.
func TestBudgets(t *testing.T) {
	t.Parallel()
	c := newTeam(t) // Each interception costs 0.0075 USD.
	dollar := int64(1_000_000_000_000)
	if err := c.server.SetUserGroups(t.Context(), "bob", []string{`<red> & "co"`}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]aibridgedserver.Budget{
		"ada": {Kind: aibridgedserver.UserBudget, Name: "ada", Period: aibridgedserver.PerMonth, Limit: dollar / 100},
		"bob": {Kind: aibridgedserver.UserBudget, Name: "bob", Period: aibridgedserver.PerWeek, Limit: 50 * dollar},
		"red": {Kind: aibridgedserver.GroupBudget, Name: `<red> & "co"`, Period: aibridgedserver.PerDay, Limit: 2000 * dollar},
	} {
		if err := c.server.SetBudget(t.Context(), b); err != nil {
			t.Fatal(name, err)
		}
	}
	for who, want := range map[string]struct {
		browser    browser
		path       string
		has, lacks []string
	}{
		"ada's":             {c.ada, "budgets", []string{">ada<", "$0.01", "month"}, []string{"bob", "red", "50.00"}},
		"bob's":             {c.bob, "budgets", []string{">bob<", "&lt;red&gt; &amp; &#34;co&#34;", "2,000.00", "$0.25"}, []string{"ada", "<red>"}},
		"all":               {c.root, "budgets", []string{">ada<", ">bob<", "&lt;red&gt;"}, nil},
		"one user's":        {c.root, "budgets?user=bob", []string{">bob<", "&lt;red&gt;"}, []string{">ada<"}},
		"CSV":               {c.root, "budgets?format=csv", []string{"Held in USD", "0.25", c.adaID}, []string{"$"}},
		"JSON":              {c.ada, "budgets?format=json", []string{`"limit_usd": "0.01"`, `"held_usd": "0.25"`}, []string{"bob"}},
		"ada's overview":    {c.ada, "", []string{`class="warning"`, "is spent, so requests are refused"}, nil},
		"bob's overview":    {c.bob, "", nil, []string{`class="warning"`}},
		"root's overview":   {c.root, "", nil, []string{`class="warning"`}},
		"root looks at ada": {c.root, "?user=ada", []string{`class="warning"`, "ada"}, nil},
	} {
		text := want.browser.page(t, want.path)
		for _, part := range want.has {
			if !strings.Contains(text, part) {
				t.Errorf("%s: lacks %q in\n%s", who, part, text)
			}
		}
		for _, part := range want.lacks {
			if strings.Contains(text, part) {
				t.Errorf("%s: has %q", who, part)
			}
		}
	}
	if w := c.ada.get("budgets?user=bob"); w.Code != http.StatusNotFound {
		t.Errorf("another's budgets: status %d", w.Code)
	}
}

// Each view shows to administrators what all did, and to users what they did.
func TestViews(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	c.live.requests = []console.Request{
		{ID: 1, Since: time.Now(), UserID: c.adaID, User: "ada", Provider: "anthropic", Model: "model-of-ada"},
		{ID: 2, Since: time.Now(), UserID: c.bobID, User: "bob", Provider: "openai", Model: "model-of-bob", InterceptionID: c.bobOne},
	}
	for path, want := range map[string]struct{ ada, bob string }{
		"":                            {"claude-opus-4-5", ""},
		"?by=user&range=7d":           {">ada<", ">bob<"},
		"usage?by=user":               {">ada<", ">bob<"},
		"usage?by=session":            {"fix the parser", "deploy the zebra"},
		"sessions":                    {"fix the parser", "deploy the zebra"},
		"sessions?sort=cost":          {"fix the parser", "deploy the zebra"},
		"sessions?client=Claude+Code": {"fix the parser", "deploy the zebra"},
		"interceptions":               {c.adaShot, c.bobOne},
		"interceptions?tool=Bash":     {c.adaShot, c.bobOne},
		"interceptions?failed=yes":    {"", c.bobOne},
		"sessions?q=zebra":            {"", "deploy the zebra"},
		"sessions?outcome=overloaded": {"", "deploy the zebra"},
		"live":                        {"model-of-ada", "model-of-bob"},
		"sessions/" + c.adaSession:    {"I think", ""},
		"sessions/ada-session":        {"Sub-agent scout", ""},
		"interceptions/" + c.adaShot:  {"claude-cli/2", ""},
	} {
		for _, who := range []struct {
			name    string
			browser browser
			sees    string
			not     string
		}{{"ada", c.ada, want.ada, want.bob}, {"root", c.root, want.ada, ""}, {"root", c.root, want.bob, ""}} {
			page := who.browser.page(t, path)
			if !strings.Contains(page, who.sees) {
				t.Errorf("%s does not show %q to %s:\n%s", path, who.sees, who.name, page)
			}
			if who.not != "" && strings.Contains(page, who.not) {
				t.Errorf("%s shows %q to %s", path, who.not, who.name)
			}
		}
	}
}

// What another user did is not found, filtered or not, and neither is what is for administrators or does not exist.
func TestNotFound(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	for _, path := range []string{
		"sessions/" + c.bobSession, "sessions/bob-session", "sessions/" + c.bobOne, "sessions/999", "sessions/nothing", "interceptions/" + c.bobOne,
		"interceptions/" + newID(), "interceptions/x", "interceptions/" + c.bobOne + "/bytes/0/request", "interceptions/" + c.adaShot + "/bytes/1/request",
		"interceptions/" + c.adaShot + "/bytes/0/else", "interceptions/" + c.adaShot + "/bytes/-1/request", "health", "access", "nowhere", "health?format=json",
		"?user=" + c.bobID, "?user=bob", "usage?user=" + c.bobID, "sessions?user=" + c.bobID, "sessions?q=zebra&user=bob", "interceptions?user=bob",
		"sessions?format=csv&user=bob", "sessions/" + c.bobSession + "?format=json", "?user=nobody",
	} {
		w := c.ada.get(path)
		if w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "zebra") {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if page := c.root.page(t, "health"); !strings.Contains(page, "sk-a...wxyz") || !strings.Contains(page, "2033-05-18 09:18:20") { // In Kathmandu.
		t.Errorf("health does not show the key:\n%s", page)
	}
	for _, path := range []string{"health", "access", "?user=bob", "sessions?user=" + c.bobID, "interceptions/" + c.bobOne + "/bytes/0/request"} {
		c.root.page(t, path)
	}
	if page := c.root.page(t, "interceptions?failed=yes"); strings.Contains(page, c.adaShot) || !strings.Contains(page, c.bobOne) {
		t.Error("those that failed are others")
	}
	if page := c.root.page(t, "interceptions?unpriced=yes"); strings.Contains(page, c.adaShot) {
		t.Error("those without a price are others")
	}
	if page := c.root.page(t, "interceptions?user=ada"); strings.Contains(page, c.bobOne) || !strings.Contains(page, c.adaShot) {
		t.Error("the filter by user keeps others")
	}
}

// Each look of an administrator at what others wrote is noted. Others' looks at what they wrote are not.
func TestAccessIsNoted(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	for _, path := range []string{"sessions", "sessions/" + c.adaSession, "interceptions/" + c.adaShot, "interceptions/" + c.adaShot + "/bytes/0/request"} {
		c.ada.page(t, path)
	}
	c.root.page(t, "")
	if page := c.root.page(t, "access"); !strings.Contains(page, "nothing") {
		t.Errorf("noted before anybody has looked:\n%s", page)
	}
	for _, look := range []struct{ path, kind, subject string }{
		{"sessions?q=zebra", "sessions", "zebra"}, {"sessions/" + c.bobSession, "session", c.bobSession}, {"sessions/" + c.adaSession + "?format=csv", "session", c.adaSession},
		{"interceptions/" + c.bobOne, "interception", c.bobOne}, {"interceptions/" + c.adaShot + "/bytes/0/response", "interception", c.adaShot},
		{"sessions?format=json", "sessions", ""}, {"usage?by=session", "sessions", ""},
	} {
		c.root.page(t, look.path)
		log, err := c.of.AccessLog(t.Context(), reports.Operator(), 1)
		if err != nil || len(log) == 0 || log[0].Kind != look.kind || log[0].Subject != look.subject || log[0].Viewer != "root" {
			t.Errorf("%s: %+v, %v", look.path, log, err)
		}
	}
}

// Nobody sees anything without signing in. What was asked for is shown after that, if it is a view of the console.
func TestSignIn(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	nobody := browser{console: c}
	for _, path := range []string{"", "sessions?q=a", "health", "nowhere", "interceptions/" + c.adaShot + "/bytes/0/request", "?format=json"} {
		w := nobody.get(path)
		if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || !strings.HasPrefix(to, "/console/sign-in") {
			t.Errorf("%s: %d to %s", path, w.Code, to)
		}
	}
	if w := (browser{c, "guessed"}).get(""); w.Code != http.StatusSeeOther {
		t.Errorf("a guessed cookie: %d", w.Code)
	}
	token, key, err := c.server.CreateToken(t.Context(), aTokenOf("eve"))
	if err != nil {
		t.Fatal(err)
	}
	for back, want := range map[string]string{
		"": "", "sessions?q=a": "sessions?q=a", "?range=7d": "?range=7d", "//evil.example": "", "https://evil.example/": "", "/etc": "", "../x": "",
		"a/../../x": "", `\\evil.example`: "", "javascript:alert(1)": "", "sign-out": "", "a\r\nb": "", "%zz": "",
	} {
		w := nobody.post("sign-in", url.Values{"token": {" " + token + "\n"}, "back": {back}})
		if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/console/"+want {
			t.Errorf("back to %q: %d to %q, want %q", back, w.Code, to, want)
		}
	}
	for _, wrong := range []string{"", "x", token[:len(token)-1], key.ID, strings.Repeat("a", 4000)} {
		w := nobody.post("sign-in", url.Values{"token": {wrong}})
		if w.Code != http.StatusForbidden || len(w.Result().Cookies()) > 0 || !strings.Contains(w.Body.String(), "not valid") {
			t.Errorf("%q: %d", wrong, w.Code)
		}
		if wrong != "" && strings.Contains(w.Body.String(), `"`+wrong+`"`) {
			t.Errorf("the page repeats the token %q", wrong)
		}
	}
	if w := nobody.post("sign-in", url.Values{"token": {strings.Repeat("a", 100_000)}}); w.Code != http.StatusForbidden {
		t.Errorf("a large form: %d", w.Code)
	}
}

// The cookie is nobody else's, holds no token, and is of no use after its token was revoked or after signing out.
func TestCookie(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	token, key, err := c.server.CreateToken(t.Context(), aTokenOf("eve"))
	if err != nil {
		t.Fatal(err)
	}
	for forwarded, secure := range map[string]bool{"": false, "http": false, "https": true} {
		w := browser{console: c}.post("sign-in", url.Values{"token": {token}}, "X-Forwarded-Proto", forwarded)
		cookie := w.Result().Cookies()[0]
		if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/console/" || cookie.Secure != secure ||
			cookie.MaxAge <= 0 || cookie.MaxAge > 12*3600 || strings.Contains(token, cookie.Value) {
			t.Errorf("%q: %+v", forwarded, cookie)
		}
		eve := browser{c, cookie.Value}
		if page := eve.page(t, ""); strings.Contains(page, token) || strings.Contains(page, strings.Split(token, "-")[1]) || strings.Contains(page, cookie.Value) {
			t.Error("a page holds a secret")
		}
		if secure {
			if w := eve.post("sign-out", url.Values{"secret": {eve.secret(t)}}); w.Code != http.StatusSeeOther || w.Result().Cookies()[0].MaxAge != -1 {
				t.Errorf("sign out: %d", w.Code)
			}
			if w := eve.get(""); w.Code != http.StatusSeeOther {
				t.Errorf("after signing out: %d", w.Code)
			}
			continue
		}
		defer func() {
			if w := eve.get(""); w.Code != http.StatusSeeOther {
				t.Errorf("with a token that was revoked: %d", w.Code)
			}
		}()
	}
	if err := c.server.RevokeToken(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
}

// What changes something needs the secret of the forms, and comes from a page of the console.
func TestForms(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	c.live.requests = []console.Request{{ID: 5, UserID: c.adaID}, {ID: 6, UserID: c.bobID}}
	good := c.ada.secret(t)
	for name, w := range map[string]int{
		"no secret":          c.ada.post("live/end", url.Values{"id": {"5"}}).Code,
		"another's secret":   c.ada.post("live/end", url.Values{"id": {"5"}, "secret": {c.bob.secret(t)}}).Code,
		"secret in the URL":  c.ada.post("live/end?secret="+good, url.Values{"id": {"5"}}).Code,
		"another site":       c.ada.post("live/end", url.Values{"id": {"5"}, "secret": {good}}, "Sec-Fetch-Site", "cross-site").Code,
		"another origin":     c.ada.post("live/end", url.Values{"id": {"5"}, "secret": {good}}, "Sec-Fetch-Site", "", "Origin", "https://evil.example").Code,
		"sign in from there": (browser{console: c}).post("sign-in", url.Values{"token": {"x"}}, "Sec-Fetch-Site", "cross-site").Code,
		"sign out, forged":   c.ada.post("sign-out", nil).Code,
		"nobody":             (browser{console: c}).post("live/end", url.Values{"id": {"5"}, "secret": {good}}).Code,
	} {
		if w != http.StatusForbidden {
			t.Errorf("%s: %d", name, w)
		}
	}
	for _, path := range []string{"live/end?id=5&secret=" + good, "sign-out"} {
		if w := c.ada.get(path); w.Code == http.StatusOK || w.Code == http.StatusSeeOther {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
	if len(c.live.ended) > 0 {
		t.Fatalf("ended %v", c.live.ended)
	}
	c.ada.page(t, "live") // Is still signed in.
	end := func(b browser, id string, want int, ended string) {
		t.Helper()
		w := b.post("live/end", url.Values{"id": {id}, "secret": {b.secret(t)}})
		if got := fmt.Sprint(c.live.ended); w.Code != want || got != ended {
			t.Errorf("%d, ended %s", w.Code, got)
		}
	}
	end(c.ada, "6", http.StatusBadRequest, "[]")
	end(c.ada, "7", http.StatusBadRequest, "[]")
	end(c.ada, "x", http.StatusBadRequest, "[]")
	end(c.ada, "5", http.StatusSeeOther, "[5]")
	end(c.root, "6", http.StatusSeeOther, "[5 6]")
}

// A token of the gateway that somebody has typed is shown without its secret.
func TestTokensInTexts(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	token, key, err := c.server.CreateToken(t.Context(), aTokenOf("eve"))
	if err != nil {
		t.Fatal(err)
	}
	id := newID()
	c.store(t, shot{id: id, user: c.adaID, text: "export TOKEN=" + token + "; curl " + token})
	for _, path := range []string{"", "sessions?", "interceptions?", "interceptions/" + id + "?", "sessions/" + id + "?", "usage?by=session"} {
		for _, format := range []string{"", "&format=json", "&format=csv"} {
			w := c.ada.get(path + format)
			if _, secret, _ := strings.Cut(token, "-"); strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s%s shows the token:\n%s", path, format, w.Body)
			}
		}
	}
	if page := c.ada.page(t, "interceptions/"+id); !strings.Contains(page, key.ID+"-redacted; curl "+key.ID+"-redacted") {
		t.Errorf("the rest is not shown:\n%s", page)
	}
}

// Every answer forbids scripts and styles that are written into it, frames, and to be kept; and no page has any.
func TestPolicy(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	for _, b := range []browser{{console: c}, c.ada, c.root} {
		for _, path := range []string{
			"", "usage", "sessions", "sessions/" + c.adaSession, "interceptions", "interceptions/" + c.adaShot, "live", "health", "access", "sign-in", "nowhere",
			"?format=csv", "sessions?format=json", "?range=never", "sessions?after=x", "interceptions/" + c.adaShot + "/bytes/0/response",
		} {
			w := b.get(path)
			policy := w.Header().Get("Content-Security-Policy")
			if strings.Contains(policy, "unsafe") || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") ||
				w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %v", path, w.Header())
			}
			if w.Code != http.StatusSeeOther && strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
				checkPage(t, path, w.Body.String())
			}
		}
	}
	for _, name := range []string{"console.js", "console.css", "uPlot.iife.min.js", "uPlot.min.css", "icon.svg"} {
		match := regexp.MustCompile(`/console/(static/[0-9a-f]+/` + name + `)"`).FindStringSubmatch(c.ada.page(t, ""))
		if match == nil {
			t.Fatalf("no page has %s", name)
		}
		w := browser{console: c}.get(match[1])
		if w.Code != http.StatusOK || w.Body.Len() == 0 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %v", name, w.Code, w.Header())
		}
	}
	if w := (browser{console: c}).get("static/x/../../console.go"); w.Code == http.StatusOK {
		t.Error("a path leads out of the assets")
	}
}

var (
	tag      = regexp.MustCompile(`<[a-zA-Z/!][^<>]*>`)
	quoted   = regexp.MustCompile(`"[^"]*"`)
	written  = regexp.MustCompile(`(?i)\s(style|on[a-z]+|srcdoc|formaction)\s*=`)
	leading  = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	scripted = regexp.MustCompile(`<script src="/console/static/[0-9a-f]+/[A-Za-z.]+" defer>`)
)

// checkPage checks that nothing in a page is a script or a style, or leads elsewhere.
func checkPage(t *testing.T, path, page string) {
	t.Helper()
	if n := strings.Count(page, "<script"); n != 2 || len(scripted.FindAllString(page, -1)) != n {
		t.Errorf("%s: %d scripts", path, n)
	}
	for _, one := range tag.FindAllString(page, -1) {
		if written.MatchString(quoted.ReplaceAllString(one, `""`)) || strings.HasPrefix(one, "<style") {
			t.Errorf("%s: %s", path, one)
		}
	}
	for _, to := range leading.FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(to[1], "/console/") && !strings.HasPrefix(to[1], "#") {
			t.Errorf("%s leads to %q", path, to[1])
		}
	}
}

// All views can be saved, and no cell of them is a formula.
func TestFiles(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	c.live.requests = []console.Request{{ID: 1, UserID: c.adaID, User: "ada", Model: "=1+1"}}
	c.store(t, shot{id: newID(), user: c.adaID, text: "=HYPERLINK(\"http://evil.example\")"})
	for _, path := range []string{
		"?", "usage?by=user", "usage?by=day", "usage?by=tool", "usage?by=group", "sessions?", "sessions?q=parser", "sessions/" + c.adaSession + "?",
		"interceptions?", "live?", "health?", "access?", "usage?by=session", "interceptions/" + c.adaShot + "?",
	} {
		w := c.root.get(path + "&format=csv")
		rows, err := csv.NewReader(w.Body).ReadAll()
		if w.Code != http.StatusOK || err != nil || len(rows) == 0 || !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment; filename=") {
			t.Errorf("%s: %d, %v, %d rows, %v", path, w.Code, err, len(rows), w.Header())
		}
		for _, row := range rows {
			for _, cell := range row {
				if strings.HasPrefix(cell, "=") {
					t.Errorf("%s: the cell %q is a formula", path, cell)
				}
			}
		}
		w = c.root.get(path + "&format=json")
		if w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d, %s", path, w.Code, w.Body)
		}
	}
	if w := c.root.get("?format=xml"); w.Code != http.StatusBadRequest {
		t.Errorf("another format: %d", w.Code)
	}
	rows, err := csv.NewReader(c.root.get("usage?by=user&format=csv").Body).ReadAll()
	if err != nil || len(rows) != 3 || rows[0][0] != "User" || rows[1][7] == "" {
		t.Errorf("%v, %v", rows, err)
	}
}

// A file of a list has all of it, while a page has a part and a link to the next one.
func TestPages(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	var shots []shot
	for n := range 120 {
		shots = append(shots, shot{id: newID(), user: c.adaID, session: fmt.Sprintf("s%d", n), prompt: "again"})
	}
	c.store(t, shots...)
	for path, link := range map[string]string{
		"sessions?user=ada": `href="(/console/sessions/[0-9]+)"`, "interceptions?user=ada": `href="(/console/interceptions/[0-9a-f-]+)"`,
	} {
		seen := map[string]bool{}
		for pages, next := 0, path; next != ""; pages++ {
			page := c.ada.page(t, next)
			for _, match := range regexp.MustCompile(link).FindAllStringSubmatch(page, -1) {
				if seen[match[1]] {
					t.Errorf("%s is there twice", match[1])
				}
				seen[match[1]] = true
			}
			match := regexp.MustCompile(`rel="next" href="/console/([^"]+)"`).FindStringSubmatch(page)
			if next = ""; match != nil && pages < 10 {
				next = strings.ReplaceAll(match[1], "&amp;", "&")
			}
		}
		if strings.HasPrefix(path, "sessions") && len(seen) != 121 || len(seen) < 121 {
			t.Errorf("%s: %d", path, len(seen))
		}
		rows, err := csv.NewReader(c.ada.get(path + "&format=csv").Body).ReadAll()
		if err != nil || len(rows) != len(seen)+1 {
			t.Errorf("the file of %s has %d rows, want %d", path, len(rows), len(seen)+1)
		}
	}
}

// A query that is wrong is told so.
func TestWrongQueries(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	for _, path := range []string{
		"?range=never", "?from=2026-01-02", "?from=2026-01-03&to=2026-01-01", "?from=1990-01-01&to=2026-01-01", "?zone=Nowhere/Land", "?zone=../../etc/passwd",
		"usage?by=nothing", "sessions?after=x", "sessions?q=a&after=x", "interceptions?after=1.x", "sessions/" + c.adaSession + "?after=x", "sessions?user=stranger",
	} {
		if w := c.root.get(path); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// The figures of a range in a time zone lead to what is behind them.
func TestFiguresLead(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	page := c.root.page(t, "?range=24h&zone=Pacific/Chatham&user=ada")
	links := 0
	for _, match := range regexp.MustCompile(`href="/console/(interceptions\?[^"]+)"`).FindAllStringSubmatch(page, -1) {
		links++
		behind := c.root.page(t, strings.ReplaceAll(match[1], "&amp;", "&"))
		if !strings.Contains(behind, "Pacific/Chatham") || strings.Contains(behind, c.bobOne) {
			t.Errorf("%s leads to other ones", match[1])
		}
	}
	if links < 10 {
		t.Errorf("%d links", links)
	}
}

// The figures of a group, and those of users who belong to none, lead to what is behind them.
func TestFiguresOfGroupsLead(t *testing.T) {
	t.Parallel()
	c := newTeam(t)
	if err := c.server.SetUserGroups(t.Context(), "ada", []string{"red & blue"}, time.Now().Add(-30*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	page := c.root.page(t, "usage?by=group&range=24h")
	links := regexp.MustCompile(`href="/console/(interceptions\?[^"]+)"`).FindAllStringSubmatch(page, -1)
	for _, match := range links {
		behind := c.root.page(t, html.UnescapeString(match[1]))
		if isAda := strings.Contains(match[1], "group=red"); isAda == strings.Contains(match[1], "ungrouped=yes") ||
			strings.Contains(behind, c.bobOne) == isAda || strings.Contains(behind, c.adaShot) != isAda && !strings.Contains(match[1], "failed") {
			t.Errorf("%s leads to other ones", match[1])
		}
	}
	if len(links) < 4 {
		t.Errorf("%d links", len(links))
	}
}
