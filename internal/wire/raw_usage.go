package wire

import (
	"strings"

	"github.com/tidwall/gjson"
)

// rawLimit is how many bytes of an upstream's own usage object are kept.
const rawLimit = 4 << 10

// rawUsage keeps an upstream's own usage objects as one.
type rawUsage struct {
	members []rawMember
	only    []byte // The last report, of which there may be others.
	reports int
	size    int // Of the members as one object, less one byte.
	omitted bool
}

type rawMember struct{ name, key, value []byte }

// begin notes that a report begins.
func (r *rawUsage) begin(object string) {
	r.reports++
	if r.omitted = r.omitted || len(object) > rawLimit; !r.omitted {
		r.only = append(r.only[:0], object...)
	}
}

// member notes a member of the report. Reports mostly have the same members at the same places.
func (r *rawUsage) member(place int, name, value gjson.Result) {
	if r.omitted {
		return
	}
	at := place
	if at >= len(r.members) || string(r.members[at].name) != name.Str {
		for at = 0; at < len(r.members) && string(r.members[at].name) != name.Str; at++ {
		}
	}
	if at == len(r.members) {
		r.size += len(name.Raw) + len(value.Raw) + len(`:,`)
		r.members = append(r.members, rawMember{[]byte(name.Str), []byte(name.Raw), []byte(value.Raw)})
	} else if member := &r.members[at]; value.Type != gjson.Null {
		r.size += len(value.Raw) - len(member.value)
		member.value = append(member.value[:0], value.Raw...)
	}
}

// end notes that the report is at its end.
func (r *rawUsage) end() {
	if r.omitted = r.omitted || r.size+1 > rawLimit; r.omitted {
		r.members, r.only = nil, nil
	}
}

// text returns the only report as it was, or all of them as one object, or whether that is too much.
func (r *rawUsage) text() (text string, omitted bool) {
	switch {
	case r.omitted:
		return "", true
	case r.reports <= 1:
		return string(r.only), false
	}
	var joined strings.Builder
	joined.Grow(r.size + 1)
	for i, member := range r.members {
		joined.WriteByte("{,"[min(i, 1)])
		joined.Write(member.key)
		joined.WriteByte(':')
		joined.Write(member.value)
	}
	if len(r.members) == 0 {
		return "{}", false
	}
	joined.WriteByte('}')
	return joined.String(), false
}
