// Package e2e holds the tests of the program from the outside: real SDKs and real clients talk through `aibridged
// serve` to `aibridged fakellm`, and what `aibridged interceptions --json` says is compared with what they saw. It is a
// module of its own so that the SDKs of the providers stay out of the gateway's. `make e2e` installs the clients and
// runs it.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// program is the program under test, running, and equipped is another one whose gateway knows MCP servers. [TestMain] sets
// them before the first test, and nothing changes them.
var program, equipped *installation

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	// Neither the SDKs nor the program may use the accounts of the person who runs the tests.
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "ANTHROPIC_") || strings.HasPrefix(name, "OPENAI_") {
			if err := os.Unsetenv(name); err != nil {
				return failed(err)
			}
		}
	}
	stop, err := installAll()
	if err != nil {
		return failed(err)
	}
	code := m.Run()
	if err := errors.Join(stop(), goleak.Find()); err != nil {
		return failed(err)
	}
	return code
}

// installAll builds the program and starts what the tests need. Stop ends it.
func installAll() (stop func() error, err error) {
	var stops []func() error
	stop = func() error {
		var errs []error
		for _, stop := range slices.Backward(stops) {
			errs = append(errs, stop())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	directory, err := os.MkdirTemp("", "aibridged-e2e-")
	if err != nil {
		return nil, err
	}
	stops = append(stops, func() error { return os.RemoveAll(directory) })
	binary, err := build(directory)
	if err != nil {
		return nil, err
	}
	if program, err = install(binary, nil); err != nil {
		return nil, err
	}
	stops = append(stops, program.stop)
	tools, err := startToolServers()
	if err != nil {
		return nil, err
	}
	stops = append(stops, tools.stop)
	if equipped, err = install(binary, tools); err != nil {
		return nil, err
	}
	stops = append(stops, equipped.stop)
	return stop, nil
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	return 1
}
