package credential

import (
	"regexp"
	"strings"
)

// look is what a credential looks like where nothing else tells that it is one. The first group of the expression is
// not hidden.
type look struct {
	// marks are texts of which one is in every text that the expression matches. They are quick to look for.
	marks      []string
	expression *regexp.Regexp
}

var looks = [...]look{
	// After a scheme.
	{[]string{"earer", "asic", "EARER", "ASIC"}, regexp.MustCompile(`(?i)(\b(?:bearer|basic)(?: |\+)+)[A-Za-z0-9._~+/=-]{8,}`)},
	// In the user part of a URL.
	{[]string{"://"}, regexp.MustCompile(`(://)[^/\s@"']+@`)},
	// In a query.
	{[]string{"="}, regexp.MustCompile(`(?i)([?&;][^=&;\s"']*(?:auth|bearer|credential|jwt|key|passw|pwd|secret|signature|token)[^=&;\s"']*=)[^&;\s"']+`)},
	{[]string{"="}, regexp.MustCompile(`(?i)([?&;](?:code|pass|sas|sess|sig)=)[^&;\s"']+`)},
	// OAuth access tokens of Google.
	{[]string{"ya29."}, regexp.MustCompile(`(\b)ya29\.[-_A-Za-z0-9]{12,}`)},
	// JSON Web Tokens.
	{[]string{"eyJ"}, regexp.MustCompile(`(\b)eyJ[-_A-Za-z0-9]{8,}\.[-_A-Za-z0-9]+(?:\.[-_A-Za-z0-9]*)*`)},
}

// beginnings are those that vendors give to their keys.
var beginnings = [...]string{
	"sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "csk-", "gsk_", "xai-", "nvapi-", "pplx-", "glpat-", "hf_", "r8_", "fw_",
	"tgp_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "AIza", "AKIA", "ASIA",
}

// shortestKey is how long a word must be, in bytes, that is hidden for its beginning.
const shortestKey = 16

// Hide returns a text without what looks like a credential, whoever's it may be. It says so too often rather than too
// rarely: it is for logs and for files that an operator reads.
func Hide(text string) string {
	for i := range looks {
		for _, mark := range looks[i].marks {
			if strings.Contains(text, mark) {
				text = looks[i].expression.ReplaceAllString(text, "${1}"+hidden)
				break
			}
		}
	}
	text = hideKeys(text, false)
	text = Tokens{Find: FindCoderKey}.Redact(text)
	if strings.IndexByte(text, '%') < 0 {
		return text
	}
	return replaceWords(text, func(word string) string {
		if plain := unescape(word); plain != word && Hide(plain) != plain {
			return hidden
		}
		return word
	})
}

// hideKeys hides the words that begin as keys do. A word has letters, digits, hyphens and underscores. With escapes, one also
// begins behind an escape of JSON.
func hideKeys(text string, escapes bool) string {
	var out strings.Builder
	kept := 0 // What is before it is in out.
	for at := 0; at < len(text); {
		if escapes && text[at] == '\\' {
			at += escapeLength(text[at:])
			continue
		}
		end := at
		for end < len(text) && isOfWord(text[end]) {
			end++
		}
		if end-at >= shortestKey && beginsAsKey(text[at:end]) {
			out.WriteString(text[kept:at])
			out.WriteString(hidden)
			kept = end
		}
		at = max(end, at+1)
	}
	if kept == 0 {
		return text
	}
	out.WriteString(text[kept:])
	return out.String()
}

func beginsAsKey(word string) bool {
	for _, beginning := range beginnings {
		if strings.HasPrefix(word, beginning) {
			return true
		}
	}
	return false
}
