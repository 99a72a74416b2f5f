package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/coder/aibridged/internal/rederive"
	"github.com/coder/aibridged/internal/verify"
)

// verdictWriter writes the verdicts on interceptions and their sums.
type verdictWriter interface {
	verdict(verify.Verdict) error
	unread(counts []verify.UnreadCount, more int) error
	sums(verify.Sums) error
}

// verdictText writes one line for each difference, then one for each thing that no decoder reads, and at the end one with
// the sums.
type verdictText struct{ out io.Writer }

func newVerdictText(out io.Writer) verdictWriter { return verdictText{out} }

func (w verdictText) verdict(v verify.Verdict) error {
	for _, d := range v.Differences {
		text := d.Problem
		if text == "" {
			recorded, bytes := contrast(rederive.Shown(d.Recorded), rederive.Shown(d.Bytes))
			text = fmt.Sprintf("recorded %s, the bytes say %s", recorded, bytes)
		}
		if _, err := fmt.Fprintf(w.out, "%s %s: %s\n", v.InterceptionID, d.Field, text); err != nil {
			return err
		}
	}
	return nil
}

func (w verdictText) unread(counts []verify.UnreadCount, more int) error {
	for _, c := range counts {
		if _, err := fmt.Fprintf(w.out, "not read: %s %q, provider %s, model %q, %s\n",
			c.Kind, c.Name, c.ProviderName, c.Model, counted(c.Count, "time")); err != nil {
			return err
		}
	}
	if more == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w.out, "not read: others, %s\n", counted(more, "time"))
	return err
}

func (w verdictText) sums(s verify.Sums) error {
	inPart := ""
	if s.InPart > 0 {
		inPart = fmt.Sprintf(" (%d in part)", s.InPart)
	}
	_, err := fmt.Fprintf(w.out, "%s verified%s, %d differ, %d without kept bytes\n", counted(s.Verified, "interception"), inPart, s.Differ, s.NotKept)
	return err
}

// counted returns a number and a noun, with an s in the plural.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// verdictJSON writes an object for each interception, then one for what no decoder reads, and at the end one with the sums.
type verdictJSON struct{ encoder *json.Encoder }

func newVerdictJSON(out io.Writer) verdictWriter {
	encoder := newJSONLines(out)
	encoder.SetEscapeHTML(false)
	return verdictJSON{encoder}
}

func (w verdictJSON) verdict(v verify.Verdict) error { return w.encoder.Encode(v) }

func (w verdictJSON) unread(counts []verify.UnreadCount, more int) error {
	if counts == nil {
		counts = []verify.UnreadCount{}
	}
	return w.encoder.Encode(map[string]any{"unread": counts, "unread_others": more})
}

func (w verdictJSON) sums(s verify.Sums) error { return w.encoder.Encode(map[string]any{"sums": s}) }

const (
	// longestShown is how much of a value a line shows, in characters.
	longestShown = 120
	// shownBefore is how many of these characters come before the first difference of two values.
	shownBefore = 30
)

// contrast returns two values as a line shows them. Of long ones it returns the part around their first difference.
func contrast(one, other string) (string, string) {
	a, b := []rune(one), []rune(other)
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	from := 0
	if max(len(a), len(b)) > longestShown {
		from = max(0, same-shownBefore)
	}
	return window(a, from), window(b, from)
}

// window returns the part of a value from a position on that a line shows.
func window(text []rune, from int) string {
	before, after := "", ""
	if from > 0 {
		before = "…"
	}
	rest := text[min(from, len(text)):]
	if len(rest) > longestShown {
		rest, after = rest[:longestShown], "…"
	}
	return before + string(rest) + after
}
