package aibridged_test

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/testkit"
)

var _ = flag.Bool("update", false, "write what was recorded into the cases, to be read before it is kept")

// TestCases runs every case of testdata/cases in all its views.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no cases")
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), "testdata/cases/"), ".txtar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testkit.Run(t, file)
		})
	}
}
