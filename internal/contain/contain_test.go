package contain_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/coder/aibridged/internal/contain"
)

func TestPanicKeepsItsValueAndStack(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("call: %w", recoverFrom(explode))

	recovered, ok := errors.AsType[*contain.Panic](err)
	if !ok || recovered.Value != "boom" {
		t.Fatalf("got %#v, want a panic of the value boom", err)
	}
	if err.Error() != "call: panic: boom" {
		t.Errorf("the text is %q", err)
	}
	if !bytes.Contains(recovered.Stack, []byte("contain_test.explode")) {
		t.Errorf("the stack does not show where the panic began:\n%s", recovered.Stack)
	}
}

func explode() { panic("boom") }

func recoverFrom(f func()) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = contain.Recovered(value)
		}
	}()
	f()
	return nil
}
