package credential

import (
	"net/http"
	"slices"
	"strings"
)

// known is the table of rows, ready to be looked up.
var known = compile(rows[:])

// table is what rows say, by what is looked up first.
type table struct {
	names      map[string]fate
	beginnings map[[keyLen]byte][]row // By the first letters; the longest first. Without the star.
	ends       map[string][]row       // By the last word; the longest first. Without the star.
	words      map[string]fate
}

// keyLen is how many letters a beginning has at least.
const keyLen = 3

func compile(rows []row) *table {
	t := &table{
		names: map[string]fate{}, beginnings: map[[keyLen]byte][]row{}, ends: map[string][]row{}, words: map[string]fate{},
	}
	for _, r := range slices.SortedStableFunc(slices.Values(rows), func(a, b row) int { return len(b.pattern) - len(a.pattern) }) {
		rest, atEnd := strings.CutPrefix(r.pattern, "*")
		rest, atBeginning := strings.CutSuffix(rest, "*")
		switch r.pattern = rest; {
		case atEnd && atBeginning:
			t.words[strings.Trim(rest, "-")] = r.fate
		case atBeginning:
			key := [keyLen]byte([]byte(rest))
			t.beginnings[key] = append(t.beginnings[key], r)
		case atEnd:
			word := rest[strings.LastIndexByte(rest, '-')+1:]
			t.ends[word] = append(t.ends[word], r)
		default:
			t.names[rest] = r.fate
		}
	}
	return t
}

// find returns what the rows say of a name in its canonical form, and whether one of them fits. It allocates nothing.
func (t *table) find(name string) (fate, bool) {
	if f, ok := t.names[name]; ok {
		return f, true
	}
	var f fate
	fits := false
	if len(name) >= keyLen {
		for _, r := range t.beginnings[[keyLen]byte{name[0], name[1], name[2]}] {
			if strings.HasPrefix(name, r.pattern) {
				f, fits = r.fate, true
				break
			}
		}
	}
	for rest, more := name, true; more; {
		var word string
		word, rest, more = strings.Cut(rest, "-")
		if of, ok := t.words[strings.TrimRight(word, "0123456789")]; ok {
			f, fits = max(f, of), true
		}
		if more {
			continue
		}
		for _, r := range t.ends[word] {
			if strings.HasSuffix(name, r.pattern) {
				f, fits = max(f, r.fate), true
			}
		}
	}
	return f, fits
}

// fateOf returns what becomes of a header. Some servers read other characters than letters and digits as hyphens: an
// underscore, for the most part. The twins that headers have in this way stay here, since nobody judges them where they
// are read.
func fateOf(name string) fate {
	name = http.CanonicalHeaderKey(name)
	if f, ok := known.names[name]; ok {
		return f
	}
	if hasOdd(name) {
		twin := http.CanonicalHeaderKey(strings.Map(func(c rune) rune {
			if isOdd(c) {
				return '-'
			}
			return c
		}, name))
		if _, fits := known.find(twin); fits {
			return stays
		}
	}
	f, _ := known.find(name)
	return f
}

// Settable reports whether an operator may set a header on the requests to a provider: it is one that could go upstream,
// says nothing of the body, and is no credential that the gateway sets itself.
func Settable(name string) bool {
	if !IsHeaderWord(name) || strings.HasPrefix(http.CanonicalHeaderKey(name), "Content-") {
		return false
	}
	f := fateOf(name)
	return f == passes || f == account
}

// BelongsToCredential reports whether a header has a part of a credential, or one that no API names.
func BelongsToCredential(name string) bool {
	f := fateOf(name)
	return f == account || f == own
}

// IsHeaderWord reports whether a text can be the name of a header, or a part of one, that all servers read in the same way:
// of letters, digits and hyphens.
func IsHeaderWord(text string) bool { return text != "" && !hasOdd(text) }

func hasOdd(name string) bool {
	for i := range len(name) {
		if isOdd(rune(name[i])) {
			return true
		}
	}
	return false
}

// isOdd reports whether a character of a header's name is neither a letter nor a digit nor a hyphen.
func isOdd(c rune) bool { return c != '-' && (c > 0x7f || !isAlphanumeric(byte(c))) }
