package bedrock

import (
	"strconv"
	"strings"
)

// model is what is known of a model by its name, as far as requests for it differ.
type model struct {
	family       string // For example "sonnet"; empty: it is not known which model it is.
	major, minor int
}

// modelOf returns the model of a name, such as us.anthropic.claude-sonnet-4-5-20250929-v1:0 or claude-3-7-sonnet-latest.
func modelOf(name string) model {
	const brand = "claude-"
	at := strings.LastIndex(name, brand)
	if at < 0 {
		return model{}
	}
	var m model
	numbers := 0
	for word := range strings.SplitSeq(name[at+len(brand):], "-") {
		n, err := strconv.Atoi(word)
		switch {
		case err == nil && n >= 0 && len(word) <= 2:
			if numbers == 0 {
				m.major = n
			} else if numbers == 1 {
				m.minor = n
			}
			numbers++
		case err != nil && m.family == "" && !strings.ContainsFunc(word, func(c rune) bool { return c < 'a' || c > 'z' }):
			m.family = word
		}
	}
	if numbers == 0 {
		return model{}
	}
	return m
}

// isKnown reports whether it is known which model it is.
func (m model) isKnown() bool { return m.family != "" }

// isAtLeast reports whether the model's version is that one or a later one.
func (m model) isAtLeast(v version) bool {
	return m.major > v.major || m.major == v.major && m.minor >= v.minor
}

// version is a version of Claude.
type version struct{ major, minor int }
