package rederive

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
)

// usageReports are what an answer says of its usage, in its order. Nil: nothing was reported.
type usageReports struct {
	objects []json.RawMessage // Usage objects.
	beside  []object          // Objects with figures that stand beside the usage object, at their place in names.
	labels  map[string]string // Texts that say at which price the answer is billed.
	odd     int               // How many others there are, that are no objects.
}

// add notes a member that should be a usage object.
func (u *usageReports) add(raw json.RawMessage) {
	switch {
	case asObject(raw) != nil:
		u.objects = append(u.objects, raw)
	case len(raw) > 0 && string(raw) != "null":
		u.odd++
	}
}

func (u *usageReports) label(name, text string) {
	if text == "" {
		return
	}
	if u.labels == nil {
		u.labels = map[string]string{}
	}
	u.labels[name] = text
}

// figureNames gives the meaning of a format's figures: their paths in the usage object. Of several paths for one thing
// the largest figure counts.
type figureNames struct {
	input, output, total, read, write, uncached, reasoning []string
	// withCached is all of the input, where cacheApart is set.
	withCached []string
	// cacheApart says that the input does not include the tokens read from and written to a cache.
	cacheApart bool
	// totalIsInput says that the total is the input where nothing else tells that.
	totalIsInput bool
	// growing says that figures only grow within an answer. Otherwise the last one counts, unless it is 0.
	growing bool
	extras  map[string][]string // By their names in records.
	labels  []string
	// included are figures that are in another one, by that one's path: each of them, or for written all together.
	included map[string][]string
	written  []string
	lists    map[string][]string // The types of objects that a list of figures tells apart, by the list's path.
}

// flat are numbers by their path in an object.
type flat map[string]int64

// tooLarge is where a flat has that a sum of figures was more than the largest number. No member has such a name.
const tooLarge = "."

// plus returns a sum, or the largest number if the sum is more, which it notes.
func (f flat) plus(one, other int64) int64 {
	sum, isMore := plus(one, other)
	if isMore {
		f[tooLarge] = 1
	}
	return sum
}

// plus returns the sum of two numbers from 0, or the largest number and true if the sum is more.
func plus(one, other int64) (sum int64, isMore bool) {
	all := uint64(one) + uint64(other)
	if all > math.MaxInt64 {
		return math.MaxInt64, true
	}
	return int64(all), false
}

// flatten returns the numbers in an object. Those in a list of objects are added up by the objects' types.
func (names figureNames) flatten(usage object) flat {
	found := flat{}
	names.flattenBelow("", usage, found)
	return found
}

func (names figureNames) flattenBelow(path string, usage object, found flat) {
	for name := range usage {
		if n, ok := usage.figure(name); ok {
			found[path+name] = n
		}
		if below := usage.object(name); below != nil {
			names.flattenBelow(path+name+".", below, found)
		}
		types, isList := names.lists[path+name]
		if !isList {
			continue
		}
		for _, one := range usage.objects(name) {
			kind := one.text("type")
			if !slices.Contains(types, kind) {
				kind = "*"
			}
			for at, n := range names.flatten(one) {
				at = path + name + "." + kind + "." + at
				if slices.Contains(names.paths(), at) {
					found[at] = found.plus(found[at], n)
				}
			}
		}
	}
}

// told returns the figures of all reports.
func (names figureNames) told(u usageReports) flat {
	all := flat{}
	for _, report := range u.all() {
		for path, n := range names.flatten(report) {
			had, known := all[path]
			if !known || names.growing && n > had || !names.growing && n > 0 {
				all[path] = n
			}
		}
	}
	return all
}

func (u usageReports) all() []object {
	var all []object
	for _, raw := range u.objects {
		all = append(all, asObject(raw))
	}
	return append(all, u.beside...)
}

// largest returns the largest of some figures, and whether there is one.
func (f flat) largest(paths []string) (most int64, ok bool) {
	for _, path := range paths {
		if n, told := f[path]; told {
			most, ok = max(most, n), true
		}
	}
	return most, ok
}

// billsBeside reports whether an object beside the usage says that something was used.
func (names figureNames) billsBeside(u usageReports) bool {
	for _, report := range u.beside {
		flat := names.flatten(report)
		for _, paths := range names.extras {
			if n, _ := flat.largest(paths); n > 0 {
				return true
			}
		}
	}
	return false
}

// record returns the usage for the reports.
func (names figureNames) record(u usageReports) TokenUsage {
	told := names.told(u)
	metadata := map[string]any{}
	input, hasInput := told.largest(names.input)
	output, hasOutput := told.largest(names.output)
	read, _ := told.largest(names.read)
	write, hasWrite := told.largest(names.write)
	thinking, _ := told.largest(names.reasoning)
	inconsistent := false

	if uncached, ok := told.largest(names.uncached); ok {
		all := told.plus(uncached, read)
		inconsistent = hasInput && all != input
		if !hasInput {
			input, hasInput = all, true
		}
	}
	cached, _ := plus(read, write)
	if all, ok := told.largest(names.withCached); ok {
		if sum, _ := plus(input, cached); input > 0 {
			inconsistent = inconsistent || all != input && all != sum
		} else {
			hasInput = true
			if read > all || write > all-read {
				inconsistent = true
			} else {
				input = all - cached
			}
		}
	}
	if total, ok := told.largest(names.total); ok && names.totalIsInput && !hasInput {
		input, hasInput = total, true
	}
	whole := input
	cacheInInput := !names.cacheApart
	if total, ok := told.largest(names.total); ok {
		// More than input and output means that something is counted beside them.
		both, _ := plus(thinking, cached)
		switch more := total - told.plus(input, output); {
		case more > 0 && more == thinking:
			output = told.plus(output, thinking)
		case more > 0 && more == cached:
			cacheInInput = false
		case more > 0 && more == both:
			output = told.plus(output, thinking)
			cacheInInput = false
		case more > 0:
			metadata["unaccounted_tokens"] = more
			inconsistent = true
		case more < 0:
			inconsistent = true
		}
	}
	if cacheInInput && hasInput {
		if read > input || write > input-read {
			input, inconsistent = 0, true
		} else {
			input -= read + write
		}
	}
	inconsistent = inconsistent || told[tooLarge] > 0
	wholes := map[string]int64{}
	if hasInput {
		wholes["input"] = whole
	}
	if hasOutput {
		wholes["output"] = output
	}
	for name, paths := range names.included {
		for _, path := range paths {
			part, isTold := told[path]
			if limit, ok := wholes[name]; ok && isTold && part > limit {
				inconsistent = true
			}
		}
	}
	rest := write
	for _, path := range names.written {
		if told[path] > rest && hasWrite {
			inconsistent = true
			break
		}
		rest -= told[path]
	}
	for name, paths := range names.extras {
		if n, ok := told.largest(paths); ok {
			metadata[name] = n
		}
	}
	if inconsistent {
		metadata["inconsistent"] = true
	}
	names.addTexts(metadata, u)
	return TokenUsage{Input: input, Output: output, CacheRead: read, CacheWrite: write, Metadata: metadata}
}

// addTexts adds the labels and the upstream's own object to metadata.
func (names figureNames) addTexts(metadata map[string]any, u usageReports) {
	labels := map[string]string{}
	for _, raw := range u.objects {
		for _, label := range names.labels {
			if text := asObject(raw).text(label); text != "" {
				labels[label] = text
			}
		}
	}
	for label, text := range u.labels {
		labels[label] = text
	}
	for label, text := range labels {
		flagShortened(metadata, text)
		metadata[label] = name(text)
	}
	switch raw, ok := joined(u.objects); {
	case !ok:
		metadata["raw_omitted"] = true
	case raw != "":
		metadata["raw"] = storable(raw)
		sanitized(metadata, raw)
	}
}

// longestRaw is how many bytes a record keeps of the upstream's own usage object.
const longestRaw = 4096

// joined returns one object as it is, and several as one with all their members: of each the last value that is not null.
// It returns false if that is too long after any of them.
func joined(objects []json.RawMessage) (string, bool) {
	var order []string
	keys, values := map[string]string{}, map[string]string{}
	one := ""
	for i, raw := range objects {
		if len(raw) > longestRaw {
			return "", false
		}
		for _, m := range membersOf(raw) {
			if _, known := values[m.name]; !known {
				order = append(order, m.name)
				keys[m.name], values[m.name] = m.key, m.value
			} else if m.value != "null" {
				values[m.name] = m.value
			}
		}
		pairs := make([]string, len(order))
		for i, name := range order {
			pairs[i] = keys[name] + ":" + values[name]
		}
		one = "{" + strings.Join(pairs, ",") + "}"
		if len(one) > longestRaw {
			return "", false
		}
		if i == 0 && len(objects) == 1 {
			one = string(raw)
		}
	}
	return one, true
}

// rawMember is a member of an object as it is written.
type rawMember struct{ name, key, value string }

// membersOf returns the members of an object in their order.
func membersOf(raw json.RawMessage) []rawMember {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	if _, err := decoder.Token(); err != nil {
		return nil
	}
	var members []rawMember
	for decoder.More() {
		before := decoder.InputOffset()
		token, err := decoder.Token()
		if err != nil {
			return members
		}
		key := strings.Trim(string(raw[before:decoder.InputOffset()]), ", \t\r\n")
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return members
		}
		text, _ := token.(string)
		members = append(members, rawMember{text, key, string(value)})
	}
	return members
}
