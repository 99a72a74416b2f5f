package rederive_test

// script is a model's answer, independent of any API. Each format writes it in its own way.
type script struct {
	id, model, tier string
	choices         [][]step // Chat can have several, the other formats have one.
	usage           usage
}

// step is one thing that a model does.
type step struct {
	kind     stepKind
	text     string // What the model says or thinks, or an unknown text.
	id, name string
	input    string
	encoded  string // For a redacted thought.
	summary  []string
}

type stepKind int

const (
	says stepKind = iota
	thinks
	thinksRedacted
	comments // Text between calls, which some formats mark.
	calls
	callsHosted
	doesUnknown
)

// usage is the usage of an answer.
type usage struct {
	input, output, read, write, reasoning int
	inconsistent                          bool // The parts add up to more than the whole.
}

// plain marks a script that every format can express in full, streamed or not, so that it can have twins.
type plain = bool

func newScript(d dice, plain plain) script {
	s := script{
		id: "id_" + d.word(), model: pick(d, "claude-x-20261001", "gpt-x", "m/ö:1"),
		tier:  pick(d, "", "", "standard", "priority"),
		usage: newUsage(d),
	}
	choices := 1
	if d.oneIn(6) {
		choices += d.upTo(2)
	}
	for range choices {
		var steps []step
		for range d.upTo(5) {
			steps = append(steps, newStep(d, plain))
		}
		s.choices = append(s.choices, steps)
	}
	if plain {
		s.usage.inconsistent = false
	}
	return s
}

func newUsage(d dice) usage {
	u := usage{input: d.IntN(5000), output: d.IntN(2000), inconsistent: d.oneIn(10)}
	if d.oneIn(2) {
		u.read = d.upTo(9000)
	}
	if d.oneIn(3) {
		u.write = d.upTo(900)
	}
	if d.oneIn(3) {
		u.reasoning = d.upTo(u.output)
	}
	return u
}

func newStep(d dice, plain plain) step {
	s := step{kind: stepKind(d.IntN(int(doesUnknown) + 1)), id: d.word()}
	switch s.kind {
	case says, comments, thinks:
		s.text = d.text()
		for range 1 + d.upTo(2) {
			s.summary = append(s.summary, d.text())
		}
	case thinksRedacted:
		s.encoded = "gAAA" + d.word()
	case calls:
		s.name = pick(d, "Bash", "get_weather", "Ünï", "mcp__x__y", "T")
		s.input = d.input(plain)
	case callsHosted:
		s.input = pick(d, `{"query":"x"}`, `{"query":"ü\n","n":1.50}`, `{"commands":["ls -l","echo \"hi\""]}`)
	}
	return s
}

// input returns the arguments of a call: mostly an object, sometimes anything else that a model might write.
func (d dice) input(plain plain) string {
	inputs := []string{
		`{}`, `{"command":"ls"}`, `{"path":"C:\\x","q":"\"hi\""}`, `{"u":"\u00fc🌍","n":[1,2.50,1e3,null]}`,
		`{"deep":{"a":{"b":{"c":[[]]}}},"s":"<&>"}`, `{"a":1,"a":2}`, `{"text":"line\nbreak"}`,
	}
	if !plain {
		inputs = append(inputs,
			"", `{"broken":`, "not JSON: <ü>", `[1, 2]`, `"text"`, ` {"b" : [ 1 , 2 ]} `, "12", "*** Begin Patch\n+a\n", "{}{}",
			`{"nul":"`+"\x00"+`"}`,
		)
	}
	return pick(d, inputs...)
}
