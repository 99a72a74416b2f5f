package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/coder/aibridged"

// floors lists the packages from the ground up. A package imports packages of lower floors only, and none of its own.
func floors() [][]string {
	return [][]string{
		{"proto", "dbpubsub", "internal/apierror", "internal/clients", "internal/contain", "internal/contentcoding", "internal/credential", "internal/jsonedit", "internal/kept", "internal/lease", "internal/outbox", "internal/reload", "internal/rpcstatus", "internal/sse", "internal/storable"},
		{"internal/inproc", "internal/rederive", "internal/upstream", "internal/wire"},
		{"internal/observe", "internal/verify", "internal/wire/chat", "internal/wire/messages", "internal/wire/responses"},
		{"aibridge"},
		{"aibridge/mcp", "internal/recording"},
		{"."},
		{"aibridgedmock", "aibridgedserver", "controlplane"},
		{"aibridgedserver/sqlite"},
		{"internal/fakellm"},
		{"cmd/aibridged"},
	}
}

// forTests are packages that only tests, benchmarks and generators import.
func forTests() []string {
	return []string{
		"dbpubsub/pubsubtest", "internal/archtest", "internal/bench", "internal/crashtest", "internal/protogen", "internal/rawserver", "internal/testkit",
		"internal/wire/wiretest",
	}
}

// apart are packages that must not import each other although their floors would allow it: a rule, and why.
func apart() map[string][]string {
	return map[string][]string{
		"aibridgedserver":        {".", "aibridge"},                                  // A gateway and its control plane meet in proto.
		"aibridgedserver/sqlite": {".", "aibridge"},                                  // The same.
		"aibridge/mcp":           {"aibridge"},                                       // Sessions know nothing of bridges.
		"internal/fakellm":       {".", "aibridge", "internal/wire", "internal/sse"}, // A second opinion on the formats is worth something only if it is one.
	}
}

// alone are packages that import these of ours and no others: a rule, and why.
func alone() map[string][]string {
	return map[string][]string{
		// It is held against what reads along, as a second opinion: they share data, and what undoes a content coding.
		"internal/rederive": {"internal/clients", "internal/contentcoding"},
		// It knows what was kept and what the second decoder makes of it, and nothing of what wrote and recorded that.
		"internal/verify": {"internal/kept", "internal/rederive"},
		// It is data.
		"internal/clients": {},
	}
}

// light are the packages that a host imports, and what must never reach its build through them.
func light() (packages, banned []string) {
	return []string{".", "aibridge", "aibridge/mcp", "controlplane", "dbpubsub", "proto"},
		[]string{
			"modernc.org/sqlite", "github.com/jackc/pgx", "github.com/lib/pq", "github.com/mattn/go-sqlite3", "github.com/pressly/goose",
			"github.com/spf13/cobra", "github.com/goccy/go-yaml", "github.com/anthropics", "github.com/openai", "github.com/bufbuild",
			"github.com/aws", "golang.org/x/tools",
		}
}

// only says which packages alone may import a module directly.
func only() map[string][]string {
	return map[string][]string{
		"github.com/mark3labs/mcp-go":     {"aibridge/mcp"},
		"github.com/hashicorp/yamux":      {"controlplane"},
		"modernc.org/sqlite":              {"aibridgedserver/sqlite"},
		"github.com/pressly/goose/v3":     {"aibridgedserver/sqlite"},
		"github.com/spf13/cobra":          {"cmd/aibridged"},
		"github.com/goccy/go-yaml":        {"cmd/aibridged"},
		"github.com/tidwall/gjson":        {"internal/wire", "internal/wire/chat", "internal/wire/messages", "internal/wire/responses"},
		"github.com/hashicorp/golang-lru": {"internal/lease"},
		"github.com/klauspost/compress":   {"internal/contentcoding", "internal/kept"},
		"github.com/andybalholm/brotli":   {"internal/contentcoding"},
	}
}

// goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// name is the package's path within the module, "." for its root.
func (p goPackage) name() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports,Deps", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 10 {
		t.Fatalf("go list found %d packages", len(packages))
	}
	return packages
}

func floorOf(name string) int {
	return slices.IndexFunc(floors(), func(floor []string) bool { return slices.Contains(floor, name) })
}

func TestFloors(t *testing.T) {
	for _, p := range listPackages(t) {
		name := p.name()
		if slices.Contains(forTests(), name) {
			continue
		}
		floor := floorOf(name)
		if floor < 0 {
			t.Errorf("package %s has no floor: give it one", name)
			continue
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module) {
				continue
			}
			below := goPackage{ImportPath: imported}.name()
			if floorOf(below) >= floor || floorOf(below) < 0 {
				t.Errorf("%s imports %s, which is not on a floor below it", name, below)
			}
			if slices.Contains(apart()[name], below) {
				t.Errorf("%s imports %s: they are to be apart", name, below)
			}
			if few, ok := alone()[name]; ok && !slices.Contains(few, below) {
				t.Errorf("%s imports %s, which is none of %q", name, below, few)
			}
		}
	}
}

func TestDependencies(t *testing.T) {
	packages, banned := light()
	for _, p := range listPackages(t) {
		name := p.name()
		if slices.Contains(packages, name) {
			for _, dep := range p.Deps {
				for _, prefix := range banned {
					if dep == prefix || strings.HasPrefix(dep, prefix+"/") {
						t.Errorf("%s brings %s into a host's build", name, dep)
					}
				}
			}
		}
		for prefix, allowed := range only() {
			for _, imported := range p.Imports {
				if (imported == prefix || strings.HasPrefix(imported, prefix+"/")) && !slices.Contains(allowed, name) {
					t.Errorf("%s imports %s, which is for %s only", name, imported, strings.Join(allowed, ", "))
				}
			}
		}
	}
}
