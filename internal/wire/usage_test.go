package wire_test

import (
	"encoding/json"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// table has a row of each meaning.
func table() wire.Table {
	return wire.Table{
		Rows: []wire.Row{
			{Path: "in", Is: wire.Input},
			{Path: "out", Is: wire.Output},
			{Path: "total", Is: wire.Total, Name: "total_tokens"},
			{Path: "details.read", Is: wire.CacheRead},
			{Path: "read", Is: wire.CacheRead},
			{Path: "write", Is: wire.CacheWrite},
			{Path: "miss", Is: wire.Uncached},
			{Path: "details.thought", Is: wire.Reasoning, Name: "reasoning", PartOf: wire.Output},
			{Path: "details.short", Name: "short", PartOf: wire.CacheWrite},
			{Path: "details.long", Name: "long", PartOf: wire.CacheWrite},
			{Path: "beside.calls", Name: "calls"},
			{Path: "list.one.in", Name: "one"},
			{Path: "list.*.in", Name: "other"},
		},
		Labels: []string{"tier"},
	}
}

func metered(t wire.Table, reports ...string) *wire.Usage {
	meter := t.Meters()()
	for _, report := range reports {
		meter.Read(gjson.Parse(report))
	}
	return meter.Usage()
}

func TestMeter(t *testing.T) {
	for name, test := range map[string]struct {
		reports []string
		want    wire.Usage // Without Raw.
	}{
		"none of the figures": {[]string{`{}`}, wire.Usage{}},
		"cache in input":      {[]string{`{"in":10,"read":3,"write":2}`}, wire.Usage{Input: 5, CacheRead: 3, CacheWrite: 2}},
		"synonyms count once": {[]string{`{"in":10,"read":3,"details":{"read":4}}`}, wire.Usage{Input: 6, CacheRead: 4}},
		"more cached than there is": {
			[]string{`{"in":10,"read":11}`}, wire.Usage{CacheRead: 11, Inconsistent: true},
		},
		"the total tells that the cache is beside": {
			[]string{`{"in":10,"out":1,"read":3,"total":14}`},
			wire.Usage{Input: 10, Output: 1, CacheRead: 3, Extra: map[string]int64{"total_tokens": 14}},
		},
		"the total tells that all is beside": {
			[]string{`{"in":10,"out":1,"read":3,"details":{"thought":7},"total":21}`},
			wire.Usage{Input: 10, Output: 8, CacheRead: 3, Extra: map[string]int64{"total_tokens": 21, "reasoning": 7}},
		},
		"nothing tells it": {
			[]string{`{"in":10,"out":1,"details":{"thought":7}}`},
			wire.Usage{Input: 10, Output: 1, Extra: map[string]int64{"reasoning": 7}, Inconsistent: true},
		},
		"miss contradicts": {
			[]string{`{"in":10,"read":3,"miss":9}`}, wire.Usage{Input: 7, CacheRead: 3, Inconsistent: true},
		},
		"parts of the written": {
			[]string{`{"write":3,"details":{"short":2,"long":2}}`},
			wire.Usage{CacheWrite: 3, Extra: map[string]int64{"short": 2, "long": 2}, Inconsistent: true},
		},
		"a list is added up, and reports of it are not": {
			[]string{`{"list":[{"type":"one","in":1},{"in":5}]}`, `{"list":[{"type":"one","in":1},{"type":"one","in":2},{"type":"x","in":5}]}`},
			wire.Usage{Extra: map[string]int64{"one": 3, "other": 5}},
		},
		"zero, then less": {[]string{`{"in":10,"out":5}`, `{"in":9,"out":0}`}, wire.Usage{Input: 9, Output: 5}},
		"labels":          {[]string{`{"tier":"a"}`, `{"tier":"b"}`, `{"tier":""}`, `{"tier":null}`}, wire.Usage{Labels: map[string]string{"tier": "b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := *metered(table(), test.reports...)
			got.Raw = ""
			if got.Input != test.want.Input || got.Output != test.want.Output || got.CacheRead != test.want.CacheRead ||
				got.CacheWrite != test.want.CacheWrite || got.Inconsistent != test.want.Inconsistent ||
				!maps.Equal(got.Extra, test.want.Extra) || !maps.Equal(got.Labels, test.want.Labels) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
	if usage := metered(table(), `null`, `7`, `[]`, ``); usage != nil {
		t.Errorf("no object makes %+v", usage)
	}
}

// TestMeterCumulative has figures that a table says only grow.
func TestMeterCumulative(t *testing.T) {
	growing := table()
	growing.Cumulative, growing.CacheApart = true, true
	got := metered(growing, `{"in":10,"read":3}`, `{"in":4,"read":0,"out":2}`)
	if got.Input != 10 || got.CacheRead != 3 || got.Output != 2 {
		t.Errorf("got %+v", got)
	}
}

// TestMeterUnderstands has reports with what stands in the place of figures and is none.
func TestMeterUnderstands(t *testing.T) {
	for report, want := range map[string]bool{
		`{}`: true, `{"in":null}`: true, `null`: true, ``: true, `{"tier":"a"}`: true, `{"in":1,"new":"x"}`: true, `{"in":"1"}`: true,
		`{"details":{"read":1}}`: true, `{"list":[{"type":"one","in":1}],"details":{}}`: true, `{"list":[],"in":1}`: true,
		`{"new":1}`: false, `{"new":{"in":1}}`: false, `{"details":{"new":1}}`: false, `7`: false, `[{"in":1}]`: false, `"1"`: false,
		`{"in":1,"out":1e30}`: false, `{"in":1,"out":"many"}`: false, `{"in":1,"out":-1}`: false, `{"in":1,"out":0.5}`: false,
		`{"in":1,"out":true}`: false, `{"in":1,"out":{"a":1}}`: false, `{"in":1,"out":[2]}`: false, `{"in":1,"out":""}`: false,
		`{"in":1,"details":7}`: false, `{"in":1,"details":{"read":"x"}}`: false, `{"in":1,"details":[{"type":"read","in":2}]}`: false,
		`{"in":1,"list":[7]}`: false, `{"in":1,"list":[{"in":"x"}]}`: false, `{"in":1,"list":"x"}`: false,
	} {
		meter := table().Meters()()
		if got := meter.Read(gjson.Parse(report)); got != want {
			t.Errorf("%s: understood %t", report, got)
		}
		if !meter.Read(gjson.Parse(`{"in":1}`)) {
			t.Errorf("%s spoils the next report", report)
		}
	}
	for report, want := range map[string]bool{`{"calls":1}`: true, `{"new":1}`: true, `null`: true, `{"calls":"x"}`: false, `[1]`: false} {
		meter := table().Meters()()
		if got := meter.ReadBeside("beside", gjson.Parse(report)); got != want {
			t.Errorf("beside: %s: understood %t", report, got)
		}
	}
}

// TestMeterBeyond has figures whose sums no number holds.
func TestMeterBeyond(t *testing.T) {
	const most = "9223372036854775807"
	for report, want := range map[string]wire.Usage{
		`{"in":` + most + `,"out":` + most + `,"total":1}`:                         {Input: math.MaxInt64, Output: math.MaxInt64},
		`{"in":` + most + `,"out":` + most + `,"total":` + most + `}`:              {Input: math.MaxInt64, Output: math.MaxInt64},
		`{"miss":` + most + `,"read":` + most + `}`:                                {CacheRead: math.MaxInt64},
		`{"in":1,"read":` + most + `,"write":` + most + `,"total":1}`:              {CacheRead: math.MaxInt64, CacheWrite: math.MaxInt64},
		`{"in":1,"list":[{"type":"one","in":` + most + `},{"type":"one","in":2}]}`: {Input: 1, Extra: map[string]int64{"one": math.MaxInt64}},
	} {
		got := metered(table(), report)
		if !got.Inconsistent || got.Input != want.Input || got.Output != want.Output || got.CacheRead != want.CacheRead ||
			got.CacheWrite != want.CacheWrite || got.Extra["unaccounted_tokens"] != 0 || got.Extra["one"] != want.Extra["one"] {
			t.Errorf("%s: %+v", report, got)
		}
	}
}

// TestMeterBeside has figures beside the usage object, which count as a report only if there are any.
func TestMeterBeside(t *testing.T) {
	meter := table().Meters()()
	meter.ReadBeside("beside", gjson.Parse(`{"calls":0}`))
	meter.ReadBeside("nowhere", gjson.Parse(`{"calls":1}`))
	if usage := meter.Usage(); usage != nil {
		t.Errorf("got %+v", usage)
	}
	meter.ReadBeside("beside", gjson.Parse(`{"calls":2}`))
	if usage := meter.Usage(); usage == nil || usage.Extra["calls"] != 2 || usage.Raw != "" {
		t.Errorf("got %+v", usage)
	}
}

func TestRawUsage(t *testing.T) {
	long := strings.Repeat("x", 4096-len(`{"a":""}`))
	for name, test := range map[string]struct {
		reports []string
		raw     string
		omitted bool
	}{
		"one, as it is":          {[]string{`{ "in" : 1 }`}, `{ "in" : 1 }`, false},
		"several":                {[]string{`{"in":1,"x":{"y":[ 1 ]}}`, `{"out":2,"in":null,"x":3}`, `{"in":4}`}, `{"in":4,"x":3,"out":2}`, false},
		"only null":              {[]string{`{"in":null}`, `{"in":null}`}, `{"in":null}`, false},
		"names in other letters": {[]string{`{"\u0069n":1}`, `{"in":2}`}, `{"\u0069n":2}`, false},
		"empty":                  {[]string{`{}`, `{}`}, `{}`, false},
		"as long as may be":      {[]string{`{"a":"` + long + `"}`}, `{"a":"` + long + `"}`, false},
		"too long":               {[]string{`{"a":"` + long + `x"}`}, "", true},
		"too long together":      {[]string{`{"a":"` + long + `"}`, `{"b":1}`, `{"a":1}`}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := metered(table(), test.reports...); got.Raw != test.raw || got.RawOmitted != test.omitted {
				t.Errorf("got %s, %t", got.Raw, got.RawOmitted)
			}
		})
	}
}

// FuzzMeter reads two reports in a row: the raw usage is one JSON object of at most 4 KiB with the members of both, no
// figure is negative, and the order of asking changes nothing.
func FuzzMeter(f *testing.F) {
	f.Add(`{"in":10,"out":1,"read":3,"total":14}`, `{"details":{"read":4,"thought":7},"list":[{"type":"one","in":1}]}`)
	f.Add(`{"in":1e3,"in":2}`, `{"miss":5,"read":9223372036854775807}`)
	f.Fuzz(func(t *testing.T, one, other string) {
		if !wire.IsSound([]byte(one)) || !wire.IsSound([]byte(other)) {
			return
		}
		meter := table().Meters()()
		meter.Read(gjson.Parse(one))
		first := meter.Usage()
		meter.Read(gjson.Parse(other))
		usage := meter.Usage()
		if usage == nil {
			if first != nil {
				t.Fatal("usage was lost")
			}
			return
		}
		if usage.Input < 0 || usage.Output < 0 || usage.CacheRead < 0 || usage.CacheWrite < 0 || usage.Extra["unaccounted_tokens"] < 0 {
			t.Fatalf("got %+v", usage)
		}
		if usage.RawOmitted {
			if usage.Raw != "" || len(one)+len(other) < 4096 {
				t.Fatalf("omitted of %d bytes", len(one)+len(other))
			}
			return
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal([]byte(usage.Raw), &raw); err != nil || len(usage.Raw) > 4096 {
			t.Fatalf("%d bytes of raw usage %s: %v", len(usage.Raw), usage.Raw, err)
		}
		for _, report := range []string{one, other} {
			gjson.Parse(report).ForEach(func(name, _ gjson.Result) bool {
				if !gjson.Parse(report).IsObject() {
					return false
				}
				var key string
				if json.Unmarshal([]byte(name.Raw), &key) == nil && key == name.Str && raw[key] == nil {
					t.Fatalf("no %q in %s", key, usage.Raw)
				}
				return true
			})
		}
	})
}
