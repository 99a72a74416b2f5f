package clients

import (
	"net/http"
	"strings"
	"testing"
)

// TestKnown checks that the table keeps the rules in the comments of its types.
func TestKnown(t *testing.T) {
	names := map[string]bool{Unknown: true}
	for _, c := range Known {
		if c.Name == "" || names[c.Name] {
			t.Errorf("the name %q is empty or taken", c.Name)
		}
		names[c.Name] = true
		if c.System == "" && len(c.Headers) == 0 && len(c.Agents) == 0 {
			t.Errorf("%s: nothing marks it", c.Name)
		}
		for _, agent := range c.Agents {
			if agent == "" || agent != strings.ToLower(agent) {
				t.Errorf("%s: agent %q", c.Name, agent)
			}
		}
		for _, mark := range c.Headers {
			if !isCanonical(mark.Name) || mark.Beginning != strings.ToLower(mark.Beginning) {
				t.Errorf("%s: header mark %+v", c.Name, mark)
			}
		}
		for _, session := range c.Sessions {
			checkSession(t, c.Name, session)
		}
	}
}

func isCanonical(header string) bool {
	return header != "" && http.CanonicalHeaderKey(header) == header
}

func checkSession(t *testing.T, name string, s Session) {
	t.Helper()
	if s.Header != "" && (!isCanonical(s.Header) || s.Field != "") || s.Header == "" && s.Field != CacheKey && s.Field != UserID {
		t.Errorf("%s: session %+v has not one place", name, s)
	}
	set := 0
	for _, text := range []string{s.Prefix, s.Member, s.Marker} {
		if text != "" {
			set++
		}
	}
	if set > 1 {
		t.Errorf("%s: session %+v is read in %d ways", name, s, set)
	}
}

// TestNoRowHidesAnother checks the order of the table: the first row that fits counts, so a longer mark must come
// before a shorter one that it begins with.
func TestNoRowHidesAnother(t *testing.T) {
	for i, c := range Known {
		for _, earlier := range Known[:i] {
			if c.System != "" && earlier.System != "" && strings.HasPrefix(c.System, earlier.System) {
				t.Errorf("%s hides the system prompt of %s", earlier.Name, c.Name)
			}
			for _, agent := range c.Agents {
				for _, shorter := range earlier.Agents {
					if strings.HasPrefix(agent, shorter) {
						t.Errorf("%s hides the agent %q of %s", earlier.Name, agent, c.Name)
					}
				}
			}
			for _, mark := range c.Headers {
				for _, shorter := range earlier.Headers {
					if mark.Name == shorter.Name && strings.HasPrefix(mark.Beginning, shorter.Beginning) {
						t.Errorf("%s hides the header %+v of %s", earlier.Name, mark, c.Name)
					}
				}
			}
		}
	}
}
