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
	WithCached                // All tokens of the request, in a table where Input is without those that were cached.
	Uncached                  // Those of Input that were not read from a cache.
	Output                    // All tokens of the answer.
	Total                     // Input and Output, and in some servers' answers what is told beside them.
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
	adds    adder
	labels  map[string]string
	known   bool // The report that is read has a figure or a label.
	strange bool // Something stands in it in the place of a figure, and is none.
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

// Read reads a usage object. It reports whether it understood the value: null, or an object in which nothing but figures
// stands in the place of figures, and that has a figure or a label, if it has anything.
func (m *Meter) Read(object gjson.Result) bool {
	if !object.IsObject() {
		return object.Type == gjson.Null
	}
	m.told = true
	m.start()
	hasMembers := false
	m.raw.begin(object.Raw)
	place := 0
	object.ForEach(func(name, value gjson.Result) bool {
		m.readMember(m.root, name, value)
		m.raw.member(place, name, value)
		place++
		hasMembers = hasMembers || value.Type != gjson.Null
		return true
	})
	m.raw.end()
	return !m.strange && (m.known || !hasMembers)
}

// ReadBeside reads an object that stands beside the usage object, at a place of the table. Only figures above 0 make it
// count as a report of usage. It reports whether nothing but figures stands in the place of figures.
func (m *Meter) ReadBeside(name string, object gjson.Result) bool {
	at := m.root.below[name]
	if at == nil || !object.IsObject() {
		return object.Type == gjson.Null
	}
	m.start()
	m.read(at, object)
	for i, row := range m.table.Rows {
		m.told = m.told || m.figures[i].value > 0 && strings.HasPrefix(row.Path, name+".")
	}
	return !m.strange
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
	m.known, m.strange = false, false
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
	below := at.below[name.Str]
	switch {
	case below == nil:
		if at == m.root && value.Type == gjson.String {
			m.readLabel(name.Str, value)
		}
	case below.row >= 0:
		m.note(below.row, value)
	case value.IsObject():
		m.read(below, value)
	case value.IsArray() && below.below["*"] != nil:
		m.readList(below, value)
	default:
		m.strange = m.strange || value.Type != gjson.Null
	}
}

func (m *Meter) note(row int, value gjson.Result) {
	understood := false
	if m.table.Cumulative {
		understood = m.figures[row].Raise(value)
	} else {
		understood = m.figures[row].Read(value)
	}
	m.strange = m.strange || !understood
	m.known = m.known || understood && value.Type != gjson.Null
}

func (m *Meter) readLabel(name string, value gjson.Result) {
	for _, label := range m.table.Labels {
		if label == name {
			m.known = true
			m.Label(label, value)
		}
	}
}

// readList adds up the figures of a list by the types of its objects.
func (m *Meter) readList(at *names, list gjson.Result) {
	sums := make([]Figure, len(m.table.Rows))
	list.ForEach(func(_, object gjson.Result) bool {
		if !object.IsObject() {
			m.strange = true
			return true
		}
		below := at.below[object.Get("type").Str]
		if below == nil {
			below = at.below["*"]
		}
		one := Meter{table: m.table, root: m.root}
		one.start()
		one.read(below, object)
		m.known, m.strange = m.known || one.known, m.strange || one.strange
		for i, figure := range one.figures {
			if figure.told && m.table.Rows[i].Name != "" {
				sums[i] = Figure{m.adds.sum(sums[i].value, figure.value), true}
			}
		}
		return true
	})
	for i, all := range sums {
		if all.told && (all.value > m.figures[i].value || !m.figures[i].told) {
			m.figures[i] = all
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
	adds := m.adds
	cached, rest := sum(read.value, write.value), int64(0)
	if uncached := m.of(Uncached); uncached.told {
		if all := adds.sum(uncached.value, read.value); !input.told {
			input = Figure{all, true}
		} else if all != input.value {
			usage.Inconsistent = true
		}
	}
	if all := m.of(WithCached); all.told {
		if uncached, consistent := all.Less(read, write); input.value == 0 {
			input = Figure{uncached, true}
			usage.Inconsistent = usage.Inconsistent || !consistent
		} else if all.value != input.value && all.value != sum(input.value, cached) {
			usage.Inconsistent = true
		}
	}
	if !input.told && m.table.TotalIsInput {
		input = m.of(Total)
	}

	// What the total has beyond input and output is told beside them. What is told nowhere is noted.
	thinksBeside, cachedBeside := false, m.table.CacheApart
	if total := m.of(Total); total.told {
		switch rest = total.value - adds.sum(input.value, output.value); {
		case rest <= 0:
		case rest == reasoning.value:
			thinksBeside, rest = true, 0
		case rest == cached:
			cachedBeside, rest = true, 0
		case rest == sum(reasoning.value, cached):
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
		usage.Output = adds.sum(usage.Output, reasoning.value)
	}
	usage.Inconsistent = usage.Inconsistent || adds.beyond
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
