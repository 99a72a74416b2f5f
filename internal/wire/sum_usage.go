package wire

import (
	"strconv"

	"github.com/tidwall/gjson"
)

// SumUsage returns a usage object with the figures of an earlier one added to it: the sum of numbers, both lists one behind
// the other, and of anything else what last has. Members that only the earlier one has come at the end. A value that is
// empty or no sound JSON adds nothing.
func SumUsage(earlier, last []byte) []byte {
	switch {
	case len(earlier) == 0 || !IsSound(earlier):
		return last
	case len(last) == 0:
		return earlier
	case !IsSound(last):
		return last
	}
	return appendSum(nil, View(earlier), View(last))
}

func appendSum(sum []byte, earlier, last gjson.Result) []byte {
	switch {
	case !earlier.Exists() || earlier.Type == gjson.Null:
		return append(sum, last.Raw...)
	case !last.Exists() || last.Type == gjson.Null:
		return append(sum, earlier.Raw...)
	case earlier.Type == gjson.Number && last.Type == gjson.Number:
		return appendNumber(sum, earlier.Raw, last.Raw)
	case earlier.IsArray() && last.IsArray():
		return appendLists(sum, earlier, last)
	case !earlier.IsObject() || !last.IsObject():
		return append(sum, last.Raw...)
	}
	first := members(earlier)
	open := len(sum)
	last.ForEach(func(name, value gjson.Result) bool {
		sum = append(append(append(sum, ','), name.Raw...), ':')
		sum = appendSum(sum, first[name.Str], value)
		delete(first, name.Str)
		return true
	})
	earlier.ForEach(func(name, value gjson.Result) bool {
		if _, only := first[name.Str]; only {
			sum = append(append(append(append(sum, ','), name.Raw...), ':'), first[name.Str].Raw...)
			delete(first, name.Str)
		}
		return true
	})
	if len(sum) == open {
		sum = append(sum, '{')
	}
	sum[open] = '{'
	return append(sum, '}')
}

// members returns the members of an object, of those with the same name the last.
func members(object gjson.Result) map[string]gjson.Result {
	all := map[string]gjson.Result{}
	object.ForEach(func(name, value gjson.Result) bool {
		all[name.Str] = value
		return true
	})
	return all
}

func appendLists(sum []byte, lists ...gjson.Result) []byte {
	sum = append(sum, '[')
	empty := true
	for _, list := range lists {
		list.ForEach(func(_, value gjson.Result) bool {
			if !empty {
				sum = append(sum, ',')
			}
			empty = false
			sum = append(sum, value.Raw...)
			return true
		})
	}
	return append(sum, ']')
}

func appendNumber(sum []byte, one, other string) []byte {
	a, errA := strconv.ParseInt(one, 10, 64)
	b, errB := strconv.ParseInt(other, 10, 64)
	if errA == nil && errB == nil && (a < 0 || b < 0 || a+b >= 0) {
		return strconv.AppendInt(sum, a+b, 10)
	}
	x, errX := strconv.ParseFloat(one, 64)
	y, errY := strconv.ParseFloat(other, 64)
	if errX != nil || errY != nil {
		return append(sum, other...)
	}
	return strconv.AppendFloat(sum, x+y, 'f', -1, 64)
}

// LastUsage returns what two reports of the same usage say: the members of both, also of objects in them, each with the last value
// that is not null and, if it is a number, not 0: some servers repeat what they do not know as 0. An earlier report that is empty or
// no sound object says nothing.
func LastUsage(earlier, last []byte) []byte {
	if len(earlier) == 0 || !IsSound(earlier) || !IsSound(last) {
		return last
	}
	return lastOf(View(earlier), View(last))
}

func lastOf(before, after gjson.Result) []byte {
	if !before.IsObject() || !after.IsObject() {
		return []byte(after.Raw)
	}
	told := members(after)
	var all []byte
	add := func(name gjson.Result, value []byte) {
		all = append(append(append(append(all, ','), name.Raw...), ':'), value...)
	}
	before.ForEach(func(name, value gjson.Result) bool {
		later, ok := told[name.Str]
		isNothing := later.Type == gjson.Null || later.Type == gjson.Number && later.Num == 0 && value.Type == gjson.Number
		if delete(told, name.Str); ok && !isNothing {
			add(name, lastOf(value, later))
		} else {
			add(name, []byte(value.Raw))
		}
		return true
	})
	after.ForEach(func(name, _ gjson.Result) bool {
		if value, ok := told[name.Str]; ok {
			delete(told, name.Str)
			add(name, []byte(value.Raw))
		}
		return true
	})
	if len(all) == 0 {
		return []byte(after.Raw)
	}
	all[0] = '{'
	return append(all, '}')
}
