package budget

import (
	"regexp"
	"strings"
)

// capacity is how many tokens a model reads and writes at most in one request.
type capacity struct {
	prefix        string // Of the model's name, in lower case, without what stands before it.
	input, output int64
}

// anyModel is the capacity of a model that no row of the table is for.
func anyModel() capacity { return capacity{input: 1_000_000, output: 128_000} }

// capacities is the table of what models can read and write, from the vendors' lists of models. The longest prefix counts. A row
// that allows too much only holds more than is needed; one that allows too little holds less.
func capacities() []capacity {
	return []capacity{
		{"claude-3-", 200_000, 4_096},
		{"claude-3-5-", 200_000, 8_192},
		{"claude-3-7-", 200_000, 128_000},
		{"claude-haiku-4", 200_000, 64_000},
		{"claude-sonnet-4", 1_000_000, 64_000},
		{"claude-opus-4", 200_000, 32_000},
		{"claude-opus-4-5", 200_000, 64_000},
		{"claude-opus-4-6", 1_000_000, 128_000},
		{"claude-opus-4-7", 1_000_000, 128_000},
		{"claude-opus-4-8", 1_000_000, 128_000},
		{"claude-", 1_000_000, 128_000},
		{"gpt-3.5", 16_385, 4_096},
		{"gpt-4", 128_000, 8_192},
		{"gpt-4-turbo", 128_000, 4_096},
		{"gpt-4o", 128_000, 16_384},
		{"gpt-4.1", 1_047_576, 32_768},
		{"gpt-5", 400_000, 128_000},
		{"gpt-5-pro", 400_000, 272_000},
		{"o1", 200_000, 100_000},
		{"o3", 200_000, 100_000},
		{"o4", 200_000, 100_000},
		{"gemini-1.5", 2_000_000, 8_192},
		{"gemini-2.0", 1_048_576, 8_192},
		{"gemini-", 1_048_576, 65_536},
		{"text-embedding-", 300_000, 0}, // A request may have many texts.
	}
}

// placed is what may stand before a model's own name: collections, a region, a vendor.
var placed = regexp.MustCompile(`^(.*/)?((global|regional|us|eu|au|jp|apac|us-gov)\.)?((anthropic|openai|google|meta|amazon|mistral)\.)?`)

// capacityOf returns what a model reads and writes at most.
func capacityOf(model string) capacity {
	name := placed.ReplaceAllString(strings.ToLower(strings.TrimSpace(model)), "")
	found := anyModel()
	for _, c := range capacities() {
		if len(c.prefix) > len(found.prefix) && strings.HasPrefix(name, c.prefix) {
			found = c
		}
	}
	return found
}
