package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// longestFile is how many lines a file may have.
const longestFile = 600

// sourceFile is a file of the module that is not generated.
type sourceFile struct {
	path    string // Within the module.
	pkg     string
	text    string
	file    *ast.File
	fileSet *token.FileSet
}

func sourceFiles(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	for _, p := range listPackages(t) {
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, text, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if ast.IsGenerated(file) {
				continue
			}
			files = append(files, sourceFile{
				path: filepath.ToSlash(filepath.Join(p.name(), name)), pkg: p.name(), text: string(text), file: file, fileSet: set,
			})
		}
	}
	return files
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range sourceFiles(t) {
		documented[f.pkg] = documented[f.pkg] || f.file.Doc != nil
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}

func TestNames(t *testing.T) {
	vague := regexp.MustCompile(`(^|[/_])(utils?|common|helpers?|types|misc)([/_.]|$)`)
	for _, f := range sourceFiles(t) {
		if vague.MatchString(f.path) {
			t.Errorf("%s: name the file or package for its idea", f.path)
		}
	}
}

func TestFileLength(t *testing.T) {
	for _, f := range sourceFiles(t) {
		if lines := strings.Count(f.text, "\n"); lines > longestFile {
			t.Errorf("%s has %d lines: split it by its ideas", f.path, lines)
		}
	}
}

func TestEnvironmentIsReadInCommandsOnly(t *testing.T) {
	for _, f := range sourceFiles(t) {
		if strings.HasPrefix(f.pkg, "cmd/") || slices.Contains(forTests(), f.pkg) {
			continue
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok {
				x, isName := selector.X.(*ast.Ident)
				if isName && x.Name == "os" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, selector.Sel.Name) {
					t.Errorf("%s reads the environment: only commands may", f.fileSet.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

// constants lists package variables that no code changes: compiled expressions, tables and embedded files.
func constants() []string {
	return []string{
		"internal/memory.sizes", "aibridge.providerName", "aibridge/bedrock.regionName", "aibridge/bedrock.never", "aibridge/vertex.regionName", "aibridge/vertex.projectName", "aibridge.azureVersion", "aibridge.toolPlace", "aibridge.storedMembers", "aibridge.image", "..DefaultPoolOptions", "cmd/aibridged.variable", "cmd/aibridged.plainAmount", "internal/clients.Known",
		"internal/clients.SubAgents", "internal/credential.rows", "internal/credential.known", "internal/credential.looks",
		"internal/credential.beginnings", "aibridgedserver/postgres.migrations", "aibridgedserver/sqlite.migrations", "internal/wire/chat.thoughtNames",
		"internal/wire/chat.hiddenNames", "aibridgedserver/prices.embedded", "console.embedded",
		"aibridgedserver/prices.collection", "aibridgedserver/prices.compactDate", "aibridgedserver/prices.dated", "aibridgedserver/prices.placed", "aibridgedserver/prices.profile", "aibridgedserver/prices.ending", "internal/budget.placed",
		"internal/recordgen.profiles", "internal/recordgen.tools", "internal/recordgen.words", "internal/recordgen.failures",
		"internal/keys.deadKeys", "internal/keys.otherAccounts", "internal/keys.requestsAlone", "internal/keys.dialects",
		"internal/keys.members", "internal/wire/responses.itemEvents", "internal/wire/responses.quietEvents",
	}
}

func TestPackageVariables(t *testing.T) {
	for _, f := range sourceFiles(t) {
		for _, decl := range f.file.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok || vars.Tok != token.VAR {
				continue
			}
			for _, spec := range vars.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					isError := strings.HasPrefix(name.Name, "err") || strings.HasPrefix(name.Name, "Err")
					if name.Name != "_" && !isError && !slices.Contains(constants(), f.pkg+"."+name.Name) {
						t.Errorf("%s: package variable %s: only errors and constants may be one", f.path, name.Name)
					}
				}
			}
		}
	}
}

// TestArchitectureNamesEveryPackage checks that the tree in ARCHITECTURE.md names every package.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	packages := listPackages(t)
	root := slices.IndexFunc(packages, func(p goPackage) bool { return p.name() == "." })
	text, err := os.ReadFile(filepath.Join(packages[root].Dir, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, tree, _ := strings.Cut(string(text), "```")
	tree, _, _ = strings.Cut(tree, "```")
	for _, p := range packages {
		if base := filepath.Base(p.name()); p.name() != "." && !regexp.MustCompile(`\b`+base+`\b`).MatchString(tree) {
			t.Errorf("the tree in ARCHITECTURE.md does not name %s", p.name())
		}
	}
}
