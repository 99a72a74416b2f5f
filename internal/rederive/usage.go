package rederive

// figures are the reported usage of an answer: for each figure, by its path in the usage object, the last value that is
// a number. Reports are never added up. Nil: nothing was reported.
type figures map[string]int64

// add adds the figures of a usage object.
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

// figureNames gives the meaning of a format's figures.
type figureNames struct {
	input, output, read, write string
	// inputHasCached says that the input includes the tokens read from and written to a cache.
	inputHasCached bool
	extras         map[string]string // Their names in records.
	parts          [][]string        // In each list, the first figure includes the others.
}

// record returns the usage for the figures.
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
