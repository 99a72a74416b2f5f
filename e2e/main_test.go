// Package e2e holds the tests of the program from the outside: real SDKs and real clients talk through `aibridged
// serve` to `aibridged fakellm`, and what `aibridged interceptions --json` says is compared with what they saw. It is a
// module of its own so that the SDKs of the providers stay out of the gateway's. `make e2e` installs the clients and
// runs it.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// program is the program under test, running. [TestMain] sets it before the first test, and nothing changes it.
var program *installation

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
	var err error
	if program, err = install(); err != nil {
		return failed(err)
	}
	code := m.Run()
	if err := errors.Join(program.stop(), goleak.Find()); err != nil {
		return failed(err)
	}
	return code
}

func failed(err error) int {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	return 1
}
