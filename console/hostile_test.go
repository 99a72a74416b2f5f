package console_test

import (
	"fmt"
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

func aTokenOf(user string) aibridgedserver.TokenParams {
	return aibridgedserver.TokenParams{Username: user}
}

// hostile are texts that would become a part of a page, or a script, if they were not escaped where they stand.
func hostile() []string {
	return []string{
		`<script>alert(1)</script>`, `"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`, `<svg/onload=alert(1)>`, `</pre><h1>x`,
		`</textarea></title></style><script>alert(1)</script>`, `<!--<script>`, `--><b>`, `]]><i>`, `javascript:alert(1)`, `JaVaScRiPt:alert(1)//`,
		`data:text/html,<script>alert(1)</script>`, `" onmouseover="alert(1)`, `' autofocus onfocus='alert(1)`, "` onclick=`alert(1)", `{{.Secret}}`,
		`{{template "layout"}}`, `&lt;script&gt;`, `&#60;script&#62;alert(1)`, `\u003cscript\u003e`, `<a href="javascript:alert(1)">x</a>`,
		`<iframe srcdoc="<script>alert(1)</script>">`, `<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>`, "<\x00script>",
		"<scr\nipt>", "\u202Egnp.exe\u202C", "\u2066<b>\u2069", `"},"x":[{"y":"`, `</script><script>`, `//evil.example`, `/\evil.example`, `?x=1&y=2#z`,
		`../../x`, `%3Cscript%3E`, `+ADw-script+AD4-`, `<base href=//evil.example>`, `<meta http-equiv=refresh content=0>`, `<link rel=stylesheet href=//e>`,
		`x" style="position:fixed`, `expression(alert(1))`, `ﾀscriptﾀ`, `<ı>`, strings.Repeat("<", 3000), strings.Repeat(`"`, 3000),
	}
}

var offered = regexp.MustCompile(`<option value="[^"]*"></option>`)

// shape returns the tags of a page with their attributes, without values and texts.
func shape(page string) string {
	page = offered.ReplaceAllString(page, "") // What a page cannot show as it is, it does not offer.
	return quoted.ReplaceAllString(strings.Join(tag.FindAllString(page, -1), "\n"), `""`)
}

// Whatever anybody writes, in whatever field, the pages have the tags and attributes that they have with usual texts.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	var usual map[string]string
	for n, text := range append([]string{"usual"}, hostile()...) {
		if withRace && n > 3 {
			break
		}
		h := newHouse(t)
		name := strings.Map(func(r rune) rune {
			if r < ' ' {
				return '?'
			}
			return r
		}, text[:min(len(text), 200)])
		_, key := h.signIn(t, name, false)
		root, _ := h.signIn(t, "root", true)
		id := newID()
		h.store(t, shot{id: id, user: key.UserID, text: text}, shot{id: newID(), user: key.UserID, text: text, agent: text})
		if err := h.server.SetUserGroups(t.Context(), name, []string{name}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		h.live.requests = []console.Request{{ID: 1, Since: time.Now(), User: text, UserID: text, Provider: text, Model: text, Client: text, InterceptionID: text, APIKeyID: text}}
		session, err := h.of.FindSession(t.Context(), reports.Operator(), id)
		if err != nil {
			t.Fatal(err)
		}
		shapes := map[string]string{}
		for _, path := range []string{ // The access log is the last one: looks at others are noted in it.
			"", "?by=user", "usage?by=user", "usage?by=group", "usage?by=tool", "usage?by=session", "sessions", "interceptions", fmt.Sprint("sessions/", session),
			"interceptions/" + id, "live", "access",
		} {
			w := root.get(path)
			if w.Code != http.StatusOK {
				t.Fatalf("%q: %s: %d", text, path, w.Code)
			}
			checkPage(t, path, w.Body.String())
			name, _, isOne := strings.Cut(path, "/")
			if isOne {
				name = "one of " + name
			}
			shapes[name] = shape(w.Body.String())
			if n > 0 && shapes[name] != usual[name] {
				t.Errorf("%.200q changes the page %s:\n%s", text, name, difference(usual[name], shapes[name]))
			}
		}
		if n == 0 {
			usual = shapes
		}
		// What a browser sends is hostile, too.
		for _, view := range []string{"sessions", "interceptions", "sign-in"} {
			checkPage(t, view, root.get(view+"?"+query(text, "q", "model", "client", "provider", "tool", "outcome", "sort", "back")).Body.String())
		}
		for _, field := range []string{"user", "range", "from", "zone", "by", "after"} {
			checkPage(t, "sessions with "+field, root.get("sessions?"+query(text, field)).Body.String())
		}
		checkPage(t, "a session", root.get("sessions/"+url.PathEscape(text)).Body.String())
	}
}

func query(value string, names ...string) string {
	q := url.Values{}
	for _, name := range names {
		q.Set(name, value)
	}
	return q.Encode()
}

func difference(want, got string) string {
	wanted := strings.Split(want, "\n")
	for n, line := range strings.Split(got, "\n") {
		if n >= len(wanted) || line != wanted[n] {
			return fmt.Sprintf("tag %d is %s", n, line)
		}
	}
	return "tags are missing"
}
