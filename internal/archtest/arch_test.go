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

// floors lists the packages, the lowest floor first. A package may import packages of lower floors only, and none of
// its own floor.
func floors() [][]string {
	return [][]string{
		{"internal/memory"},
		{"proto", "controlplane/join", "dbpubsub", "aibridgedserver/prices", "internal/admission", "internal/apierror", "internal/breaker", "internal/clients", "internal/contain", "internal/contentcoding", "internal/credential", "internal/eventstream", "internal/fakemcp", "internal/ingress", "internal/jsonedit", "internal/kept", "internal/lease", "internal/outbox", "internal/pgdial", "internal/reload", "internal/rpcstatus", "internal/sse", "internal/storable", "internal/strangers", "internal/tableversion", "internal/visible"},
		{"dbpubsub/postgres", "internal/budget", "internal/inproc", "internal/invokestream", "internal/keys", "internal/rederive", "internal/upstream", "internal/wire"},
		{"aibridge/mcp", "internal/observe", "internal/verify", "internal/wire/chat", "internal/wire/embeddings", "internal/wire/messages", "internal/wire/responses"},
		{"aibridge"},
		{"aibridge/bedrock", "aibridge/vertex", "internal/recording"},
		{"."},
		{"aibridgedmock", "aibridgedserver", "controlplane"},
		{"aibridgedserver/postgres", "aibridgedserver/reports", "aibridgedserver/sqlite"},
		{"console"},
		{"internal/fakellm"},
		{"cmd/aibridged"},
	}
}

// forTests lists packages that only tests, benchmarks and generators import.
func forTests() []string {
	return []string{
		"dbpubsub/pubsubtest", "internal/archtest", "internal/bench", "internal/crashtest", "internal/enginetest", "internal/fakebedrock", "internal/fakevertex", "internal/memorytest", "internal/postgrestest", "internal/protogen", "internal/rawserver", "internal/recordgen", "internal/testkit",
		"internal/wire/wiretest",
	}
}

// apart lists, for each package, others that it must not import although their floors would allow it, and why.
func apart() map[string][]string {
	return map[string][]string{
		"aibridgedserver/reports":  {".", "aibridge"},                                  // The same.
		"aibridgedserver":          {".", "aibridge"},                                  // A gateway and its control plane meet in proto.
		"aibridgedserver/postgres": {".", "aibridge"},                                  // The same.
		"aibridgedserver/sqlite":   {".", "aibridge"},                                  // The same.
		"console":                  {".", "aibridge"},                                  // A host may show the records of other gateways.
		"internal/fakellm":         {".", "aibridge", "internal/wire", "internal/sse"}, // It tests the formats, so it must not share their code.
	}
}

// alone lists packages that may import only these packages of the module, and why.
func alone() map[string][]string {
	return map[string][]string{
		// It checks the decoders that read along, so it shares with them only data and the decoding of content codings.
		"internal/rederive": {"internal/clients", "internal/contentcoding"},
		// It compares kept bytes and records by the second decoder alone, without the code that wrote either.
		"internal/verify": {"internal/kept", "internal/rederive"},
		// It is data only.
		"internal/clients": {},
		// A host can have prices without a control plane.
		"aibridgedserver/prices": {},
	}
}

// light returns the packages that a host imports, and the modules that must not reach its build through them.
func light() (packages, banned []string) {
	return []string{".", "aibridge", "aibridge/mcp", "controlplane", "controlplane/join", "dbpubsub", "proto"},
		[]string{
			"modernc.org/sqlite", "github.com/jackc/pgx", "github.com/lib/pq", "github.com/mattn/go-sqlite3", "github.com/pressly/goose",
			"github.com/spf13/cobra", "github.com/goccy/go-yaml", "github.com/anthropics", "github.com/openai", "github.com/bufbuild",
			"github.com/aws", "golang.org/x/oauth2", "cloud.google.com", "golang.org/x/tools",
			"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters", "google.golang.org/grpc",
		}
}

// engines returns, for each package of a database engine, the drivers of the others, which it must not bring.
func engines() map[string][]string {
	return map[string][]string{
		"aibridgedserver":          {"modernc.org/sqlite", "github.com/jackc/pgx"},
		"aibridgedserver/postgres": {"modernc.org/sqlite"},
		"aibridgedserver/sqlite":   {"github.com/jackc/pgx"},
	}
}

// only lists, for a module, the only packages that may import it directly.
func only() map[string][]string {
	return map[string][]string{
		"github.com/mark3labs/mcp-go":           {"aibridge/mcp", "internal/fakemcp"},
		"github.com/hashicorp/yamux":            {"controlplane"},
		"modernc.org/sqlite":                    {"aibridgedserver/sqlite"},
		"github.com/jackc/pgx/v5":               {"aibridgedserver/postgres", "dbpubsub/postgres", "internal/pgdial", "internal/postgrestest"},
		"github.com/pressly/goose/v3":           {"aibridgedserver/postgres", "aibridgedserver/sqlite", "internal/tableversion"},
		"github.com/spf13/cobra":                {"cmd/aibridged"},
		"github.com/goccy/go-yaml":              {"cmd/aibridged"},
		"github.com/aws":                        {"aibridge/bedrock", "internal/fakebedrock"},
		"golang.org/x/oauth2":                   {"aibridge/vertex"},
		"go.opentelemetry.io/otel/sdk":          {"cmd/aibridged"},
		"go.opentelemetry.io/otel/exporters":    {"cmd/aibridged"},
		"github.com/tidwall/gjson":              {"aibridgedserver/prices", "internal/wire", "internal/wire/chat", "internal/wire/embeddings", "internal/wire/messages", "internal/wire/responses"},
		"github.com/hashicorp/golang-lru":       {"internal/admission", "internal/keys", "internal/lease", "internal/strangers", "aibridge", "aibridgedserver"},
		"github.com/sony/gobreaker":             {"internal/breaker"},
		"golang.org/x/time":                     {"internal/admission"},
		"github.com/shopspring/decimal":         {"aibridgedserver/prices", "aibridgedserver/reports", "cmd/aibridged", "console"},
		"github.com/klauspost/compress":         {"internal/contentcoding", "internal/kept"},
		"github.com/andybalholm/brotli":         {"internal/contentcoding"},
		"github.com/KimMachineGun/automemlimit": {"internal/memory"},
	}
}

// goPackage is a package in the output of `go list`.
type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// name returns the package's path within the module, "." for its root.
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
			t.Errorf("package %s has no floor: add it to floors", name)
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
				t.Errorf("%s imports %s, which apart forbids", name, below)
			}
			if few, ok := alone()[name]; ok && !slices.Contains(few, below) {
				t.Errorf("%s imports %s, but may import only %q", name, below, few)
			}
		}
	}
}

func TestDependencies(t *testing.T) {
	packages, banned := light()
	for _, p := range listPackages(t) {
		name := p.name()
		unwanted := engines()[name]
		if slices.Contains(packages, name) {
			unwanted = banned
		}
		for _, dep := range p.Deps {
			for _, prefix := range unwanted {
				if dep == prefix || strings.HasPrefix(dep, prefix+"/") {
					t.Errorf("%s brings %s into a host's build", name, dep)
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
