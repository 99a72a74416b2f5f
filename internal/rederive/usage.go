package rederive

// figures are what an answer cost, as far as it was told: of each figure, by its path in the usage object, the last
// value that is a number. They are never added to one another. Nil: none was told.
type figures map[string]int64

// add adds what a usage object tells.
func (f *figures) add(usage object) {
	if usage == nil {
		return
	}
	if *f == nil {
		*f = figures{}
	}
	f.addBelow("", usage)
}

func (f *figures) addBelow(path string, usage object) {
	for name := range usage {
		if n, ok := usage.count(name); ok {
			(*f)[path+name] = n
		}
		f.addBelow(path+name+".", usage.object(name))
	}
}

// figureNames says which figures of a format mean what.
type figureNames struct {
	input, output, read, write string
	// inputHasCached says that the input includes what was read from and written to a cache.
	inputHasCached bool
	extras         map[string]string // By the names that records have for them.
	parts          [][]string        // Of each list the first one includes the others.
}

// record returns the usage that figures tell.
func (names figureNames) record(told figures) TokenUsage {
	usage := TokenUsage{
		Input:      told[names.input],
		Output:     told[names.output],
		CacheRead:  told[names.read],
		CacheWrite: told[names.write],
		Metadata:   map[string]any{},
	}
	if names.inputHasCached {
		usage.Input = max(0, usage.Input-usage.CacheRead-usage.CacheWrite)
	}
	for path, name := range names.extras {
		if n, ok := told[path]; ok {
			usage.Metadata[name] = n
		}
	}
	for _, parts := range names.parts {
		rest, ok := told[parts[0]]
		for _, part := range parts[1:] {
			rest -= told[part]
		}
		if ok && rest < 0 {
			usage.Metadata["inconsistent"] = true
		}
	}
	return usage
}
