package wire_test

import (
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

func figure(values ...string) wire.Figure {
	var f wire.Figure
	for _, value := range values {
		f.Read(gjson.Parse(value))
	}
	return f
}

func TestFigureKeepsTheLastThatWasTold(t *testing.T) {
	tests := map[string]struct {
		values []string
		want   int64
	}{
		"nothing":          {nil, 0},
		"one":              {[]string{"7"}, 7},
		"last":             {[]string{"7", "9", "8"}, 8},
		"zero":             {[]string{"7", "0"}, 7},
		"only zero":        {[]string{"0"}, 0},
		"null":             {[]string{"7", "null"}, 7},
		"absent":           {[]string{"7", ""}, 7},
		"text":             {[]string{"7", `"9"`}, 9},
		"empty text":       {[]string{"7", `""`}, 7},
		"words":            {[]string{"7", `"9 tokens"`}, 7},
		"not decimal":      {[]string{"7", `"0x10"`}, 7},
		"spaced text":      {[]string{"7", `" 9"`}, 7},
		"signed text":      {[]string{"7", `"+9"`}, 7},
		"text of zeros":    {[]string{"7", `"007"`}, 7},
		"text of fraction": {[]string{"7", `"12.0"`}, 12},
		"a half in text":   {[]string{"7", `"1.5"`}, 7},
		"escaped text":     {[]string{"7", `"\u0039"`}, 9},
		"boolean":          {[]string{"7", "true"}, 7},
		"object":           {[]string{"7", "{}"}, 7},
		"negative":         {[]string{"7", "-1"}, 7},
		"fraction":         {[]string{"7", "1.5"}, 7},
		"whole fraction":   {[]string{"7", "12.0"}, 12},
		"exponent":         {[]string{"7", "3e2"}, 300},
		"negative zero":    {[]string{"7", "-0"}, 7},
		"largest":          {[]string{"7", "9223372036854775807"}, 9223372036854775807},
		"too large":        {[]string{"7", "9223372036854775808"}, 7},
		"inexact exponent": {[]string{"7", "1e18"}, 7},
		"beyond a float":   {[]string{"7", "1e400"}, 7},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := figure(test.values...).Value(); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestFigureLess(t *testing.T) {
	const largest = "9223372036854775807"
	tests := map[string]struct {
		whole wire.Figure
		parts []wire.Figure
		rest  int64
		ok    bool
	}{
		"no parts":         {figure("5"), nil, 5, true},
		"parts":            {figure("5"), []wire.Figure{figure("2"), figure("1")}, 2, true},
		"all":              {figure("5"), []wire.Figure{figure("2"), figure("3")}, 0, true},
		"one too large":    {figure("5"), []wire.Figure{figure("6")}, 0, false},
		"sum too large":    {figure("5"), []wire.Figure{figure("4"), figure("2")}, 0, false},
		"sum overflows":    {figure("5"), []wire.Figure{figure("1"), figure(largest)}, 0, false},
		"whole not told":   {figure(), []wire.Figure{figure("6")}, 0, true},
		"part not told":    {figure("5"), []wire.Figure{figure()}, 5, true},
		"nothing is known": {figure(), nil, 0, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if rest, ok := test.whole.Less(test.parts...); rest != test.rest || ok != test.ok {
				t.Errorf("got %d, %v, want %d, %v", rest, ok, test.rest, test.ok)
			}
		})
	}
}

func TestFigureExceeds(t *testing.T) {
	for _, test := range []struct {
		part, whole wire.Figure
		want        bool
	}{
		{figure("2"), figure("1"), true},
		{figure("1"), figure("1"), false},
		{figure("1"), figure(), false},
		{figure(), figure("1"), false},
	} {
		if got := test.part.Exceeds(test.whole); got != test.want {
			t.Errorf("%v exceeds %v: %v", test.part, test.whole, got)
		}
	}
}

func TestFigureRaise(t *testing.T) {
	var f wire.Figure
	for _, step := range []struct {
		value string
		want  int64
	}{{"0", 0}, {"7", 7}, {"3", 7}, {"0", 7}, {"null", 7}, {"8", 8}} {
		f.Raise(gjson.Parse(step.value))
		if f.Value() != step.want {
			t.Errorf("after %s: %d, want %d", step.value, f.Value(), step.want)
		}
	}
}
