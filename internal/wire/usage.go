package wire

import (
	"strings"

	"github.com/tidwall/gjson"
)

// Meaning says which figure of a [Usage] a row of a [Table] tells.
type Meaning int

// The meanings. Figures with one of their own are also among the extras if their row has a name.
const (
	Other      Meaning = iota // Only the extras have it.
	Input                     // All tokens of the request, or those that were not cached: see Table.CacheApart.
	Uncached                  // Those of Input that were not read from a cache.
	Output                    // All tokens of the answer.
	Total                     // Input and Output.
	CacheRead                 // Tokens of the request that were read from a cache.
	CacheWrite                // Tokens of the request that were written to a cache.
	Reasoning                 // Part of Output, or told beside it: only Total says which.
)

// Row gives the meaning of one figure of a usage object. Rows with the same meaning are synonyms: however many of them an
// upstream reports, the largest counts, once.
type Row struct {
	// Path is the place of the figure in the usage object: names with a dot between them. Of a list of objects, the
	// second name is the type of the object, or * for all types without rows of their own; the list's figures are added
	// up by type.
	Path string
	Is   Meaning
	// Name is the figure's name among the extras. Empty: it is not among them.
	Name string
	// PartOf is the figure that includes it, if that can be checked. The parts of CacheWrite are checked as a sum.
	PartOf Meaning
}

// Table is a format's table of the figures in its usage objects.
type Table struct {
	Rows []Row
	// Labels are the members of a usage object whose texts say at which price the answer is billed.
	Labels []string
	// TotalIsInput says that Total is the input where no other figure tells that: the answers are not counted in tokens.
	TotalIsInput bool
	// CacheApart says that Input does not include what was read from and written to a cache.
	CacheApart bool
	// Cumulative says that the format documents its figures as those so far: they never go down within an answer.
	Cumulative bool
}

// names are the rows of a table by their place.
type names struct {
	row   int // -1: no row.
	below map[string]*names
}

// Meter reads the usage objects of one answer by a table.
type Meter struct {
	table   *Table
	root    *names
	told    bool
	figures []Figure // By row.
	labels  map[string]string
	raw     rawUsage
}

// Meters returns a function that makes meters for the table. The table must not be changed afterwards.
func (t Table) Meters() func() Meter {
	root := &names{row: -1}
	for i, row := range t.Rows {
		at := root
		for name := range strings.SplitSeq(row.Path, ".") {
			if at.below == nil {
				at.below = map[string]*names{}
			}
			if at.below[name] == nil {
				at.below[name] = &names{row: -1}
			}
			at = at.below[name]
		}
		at.row = i
	}
	return func() Meter { return Meter{table: &t, root: root} }
}

// Read reads a usage object. It reports whether it understood the value: an object or null.
func (m *Meter) Read(object gjson.Result) bool {
	if !object.IsObject() {
		return object.Type == gjson.Null
	}
	m.told = true
	m.start()
	m.raw.begin(object.Raw)
	place := 0
	object.ForEach(func(name, value gjson.Result) bool {
		m.readMember(m.root, name, value)
		m.raw.member(place, name, value)
		place++
		return true
	})
	m.raw.end()
	return true
}

// ReadBeside reads an object that stands beside the usage object, at a place of the table. Only figures above 0 make it
// count as a report of usage.
func (m *Meter) ReadBeside(name string, object gjson.Result) {
	at := m.root.below[name]
	if at == nil || !object.IsObject() {
		return
	}
	m.start()
	m.read(at, object)
	for i, row := range m.table.Rows {
		m.told = m.told || m.figures[i].value > 0 && strings.HasPrefix(row.Path, name+".")
	}
}

// Label notes a text that stands beside the usage object. The last one counts.
func (m *Meter) Label(name string, value gjson.Result) {
	if value.Type != gjson.String || value.Str == "" || m.labels[name] == value.Str {
		return
	}
	if m.labels == nil {
		m.labels = make(map[string]string, 1)
	}
	m.labels[name] = Kept(value)
}

// Labelled reports whether a label is known.
func (m *Meter) Labelled(name string) bool { return m.labels[name] != "" }

// Told reports whether usage was reported.
func (m *Meter) Told() bool { return m.told }

func (m *Meter) start() {
	if m.figures == nil {
		m.figures = make([]Figure, len(m.table.Rows))
	}
}

func (m *Meter) read(at *names, object gjson.Result) {
	object.ForEach(func(name, value gjson.Result) bool {
		m.readMember(at, name, value)
		return true
	})
}

func (m *Meter) readMember(at *names, name, value gjson.Result) {
	switch value.Type {
	case gjson.Number:
		if below := at.below[name.Str]; below != nil && below.row >= 0 {
			m.note(below.row, value)
		}
	case gjson.String:
		if at == m.root {
			m.readLabel(name.Str, value)
		}
	case gjson.JSON:
		below := at.below[name.Str]
		switch {
		case below == nil:
		case value.IsArray():
			m.readList(below, value)
		default:
			m.read(below, value)
		}
	}
}

func (m *Meter) note(row int, value gjson.Result) {
	if m.table.Cumulative {
		m.figures[row].Raise(value)
	} else {
		m.figures[row].Read(value)
	}
}

func (m *Meter) readLabel(name string, value gjson.Result) {
	for _, label := range m.table.Labels {
		if label == name {
			m.Label(label, value)
		}
	}
}

// readList adds up the figures of a list by the types of its objects.
func (m *Meter) readList(at *names, list gjson.Result) {
	sums := Meter{table: m.table, root: m.root}
	sums.start()
	list.ForEach(func(_, object gjson.Result) bool {
		below := at.below[object.Get("type").Str]
		if below == nil {
			below = at.below["*"]
		}
		if below == nil || !object.IsObject() {
			return true
		}
		one := Meter{table: m.table, root: m.root}
		one.start()
		one.read(below, object)
		for i, figure := range one.figures {
			if figure.told {
				sums.figures[i] = Figure{sums.figures[i].value + figure.value, true}
			}
		}
		return true
	})
	for i, sum := range sums.figures {
		if sum.told && (sum.value > m.figures[i].value || !m.figures[i].told) {
			m.figures[i] = sum
		}
	}
}

// of returns the largest figure with a meaning.
func (m *Meter) of(meaning Meaning) (largest Figure) {
	for i, row := range m.table.Rows {
		if figure := m.figures[i]; row.Is == meaning && figure.told && (!largest.told || figure.value > largest.value) {
			largest = figure
		}
	}
	return largest
}

// Usage returns the usage so far, or nil if none was reported. The caller owns the result.
func (m *Meter) Usage() *Usage {
	if !m.told {
		return nil
	}
	input, output, reasoning := m.of(Input), m.of(Output), m.of(Reasoning)
	read, write := m.of(CacheRead), m.of(CacheWrite)
	usage := &Usage{CacheRead: read.value, CacheWrite: write.value}
	usage.Raw, usage.RawOmitted = m.raw.text()
	if uncached := m.of(Uncached); uncached.told {
		if all := uncached.value + read.value; !input.told {
			input = Figure{all, true}
		} else if all != input.value {
			usage.Inconsistent = true
		}
	}

	if !input.told && m.table.TotalIsInput {
		input = m.of(Total)
	}

	// What the total has beyond input and output is told beside them. What is told nowhere is noted.
	cached, rest := read.value+write.value, int64(0)
	thinksBeside, cachedBeside := false, m.table.CacheApart
	if total := m.of(Total); total.told {
		switch rest = total.value - input.value - output.value; {
		case rest <= 0:
		case rest == reasoning.value:
			thinksBeside, rest = true, 0
		case rest == cached:
			cachedBeside, rest = true, 0
		case rest == reasoning.value+cached:
			thinksBeside, cachedBeside, rest = true, true, 0
		}
		usage.Inconsistent = usage.Inconsistent || rest != 0
	}
	usage.Input, usage.Output = input.value, output.value
	if !cachedBeside {
		var consistent bool
		usage.Input, consistent = input.Less(read, write)
		usage.Inconsistent = usage.Inconsistent || !consistent
	}
	if thinksBeside {
		usage.Output += reasoning.value
	}
	usage.Inconsistent = usage.Inconsistent || m.partsExceed(map[Meaning]Figure{
		Input: input, Output: {usage.Output, output.told}, CacheWrite: write,
	})
	m.addExtras(usage, rest)
	return usage
}

// partsExceed reports whether a part is more than the figure that includes it.
func (m *Meter) partsExceed(wholes map[Meaning]Figure) bool {
	unwritten := wholes[CacheWrite]
	for i, row := range m.table.Rows {
		part := m.figures[i]
		if row.PartOf == CacheWrite {
			if part.Exceeds(unwritten) {
				return true
			}
			unwritten.value -= part.value
		} else if part.Exceeds(wholes[row.PartOf]) {
			return true
		}
	}
	return false
}

func (m *Meter) addExtras(usage *Usage, unaccounted int64) {
	extras := make(map[string]int64, 2)
	for i, row := range m.table.Rows {
		if figure := m.figures[i]; figure.told && row.Name != "" {
			extras[row.Name] = max(extras[row.Name], figure.value)
		}
	}
	if unaccounted > 0 {
		extras["unaccounted_tokens"] = unaccounted
	}
	if len(extras) > 0 {
		usage.Extra = extras
	}
	for name, text := range m.labels {
		if usage.Labels == nil {
			usage.Labels = make(map[string]string, len(m.labels))
		}
		usage.Labels[name] = text
	}
}
