package verify

import (
	"cmp"
	"slices"
)

// The kinds of what no decoder reads.
const (
	UsageMember = "usage member"
	EventType   = "event type"
)

// mostUnread is how many different things are listed. Models and names are chosen by clients and upstreams.
const mostUnread = 1000

// Unread counts what no decoder reads of the kept answers. The zero Unread is ready to use.
type Unread struct {
	counts map[UnreadThing]int
	more   int
}

// UnreadThing is a member of the usage objects, or a type of the events, that a model of a provider has sent.
type UnreadThing struct {
	ProviderName string `json:"provider_name"`
	Model        string `json:"model"`
	Kind         string `json:"kind"` // UsageMember or EventType.
	Name         string `json:"name"` // At most 128 bytes.
}

// UnreadCount is how often a thing was sent.
type UnreadCount struct {
	UnreadThing

	Count int `json:"count"`
}

// Add counts what a verdict has.
func (u *Unread) Add(v Verdict) {
	for name, n := range v.Unread.Members {
		u.add(UnreadThing{v.ProviderName, v.Model, UsageMember, name}, n)
	}
	for name, n := range v.Unread.Events {
		u.add(UnreadThing{v.ProviderName, v.Model, EventType, name}, n)
	}
}

func (u *Unread) add(thing UnreadThing, n int) {
	if _, known := u.counts[thing]; !known && len(u.counts) == mostUnread {
		u.more += n
		return
	}
	if u.counts == nil {
		u.counts = map[UnreadThing]int{}
	}
	u.counts[thing] += n
}

// Counts returns the counts in the order of their names. Beyond the first 1,000 different things, more says how many there
// were.
func (u *Unread) Counts() (counts []UnreadCount, more int) {
	for thing, n := range u.counts {
		counts = append(counts, UnreadCount{thing, n})
	}
	slices.SortFunc(counts, func(a, b UnreadCount) int {
		return cmp.Or(cmp.Compare(a.ProviderName, b.ProviderName), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Name, b.Name))
	})
	return counts, u.more
}
