package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// deployed is a command line in a file of deploy/.
type deployed struct {
	file string
	args []string // Without the program's name.
}

// TestDeployedCommands checks that the files in deploy/ give the program commands and flags that it has, with values that
// these take, and configurations that it reads.
func TestDeployedCommands(t *testing.T) {
	all := append(append(unitCommands(t), composeCommands(t)...), podCommands(t)...)
	if len(all) != 8 {
		t.Errorf("%d commands found: %q", len(all), all)
	}
	for _, one := range all {
		cmd, rest, err := newCommand().Find(one.args)
		if err != nil {
			t.Errorf("%s: %v", one.file, err)
			continue
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%s: %s: %v", one.file, cmd.Name(), err)
		}
		if left := cmd.Flags().Args(); len(left) > 0 {
			t.Errorf("%s: %s: %q", one.file, cmd.Name(), left)
		}
	}
}

func deployFiles(t *testing.T, pattern string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../../deploy/" + pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if files[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func unitCommands(t *testing.T) (all []deployed) {
	t.Helper()
	for path, text := range deployFiles(t, "systemd/*.service") {
		for line := range strings.Lines(string(text)) {
			if command, ok := strings.CutPrefix(line, "ExecStart="); ok {
				all = append(all, deployed{path, strings.Fields(command)[1:]})
			}
		}
	}
	return all
}

func composeCommands(t *testing.T) (all []deployed) {
	t.Helper()
	for path, text := range deployFiles(t, "compose.yaml") {
		var file struct {
			Services map[string]struct{ Command []string }
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		for _, service := range file.Services {
			if len(service.Command) > 0 {
				all = append(all, deployed{path, service.Command})
			}
		}
	}
	return all
}

// podCommands returns the commands of pods, and reads the configurations beside them.
func podCommands(t *testing.T) (all []deployed) {
	t.Helper()
	for path, text := range deployFiles(t, "kubernetes/*.yaml") {
		for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
			var object struct {
				Kind string
				Data map[string]string
				Spec struct {
					Template struct {
						Spec struct {
							Containers []struct{ Args []string }
						}
					}
				}
			}
			err := decoder.Decode(&object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			for _, container := range object.Spec.Template.Spec.Containers {
				if len(container.Args) > 0 {
					all = append(all, deployed{path, container.Args})
				}
			}
			for name, config := range object.Data {
				file := filepath.Join(t.TempDir(), name)
				check(t, os.WriteFile(file, []byte(config), 0o600))
				if _, err := loadConfig(file); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		}
	}
	return all
}

// TestUnits checks the units of systemd by its own tool, where there is one.
func TestUnits(t *testing.T) {
	verifier, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var units []string
	for path, text := range deployFiles(t, "systemd/*.service") {
		unit := filepath.Join(t.TempDir(), filepath.Base(path))
		check(t, os.WriteFile(unit, bytes.ReplaceAll(text, []byte("/usr/local/bin/aibridged"), []byte(program)), 0o600))
		units = append(units, unit)
	}
	said, err := exec.CommandContext(t.Context(), verifier, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	if err != nil || len(said) > 0 {
		t.Errorf("%v: %s", err, said)
	}
}
