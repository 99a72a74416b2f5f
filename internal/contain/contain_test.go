package contain_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
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

// A panic with an error as its value is that error for errors.Is.
func TestPanicIsItsError(t *testing.T) {
	t.Parallel()
	failure := errors.New("no")
	if err := contain.Call(func() error { panic(failure) }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	if err := contain.Call(func() error { panic("no") }); errors.Is(err, failure) || errors.Unwrap(err) != nil {
		t.Errorf("a text is an error: %v", err)
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

// TestCall checks the error of a call, and its fields in a log.
func TestCall(t *testing.T) {
	failure := errors.New("no")
	for name, test := range map[string]struct {
		f      func() error
		text   string // Empty: no error.
		fields []string
	}{
		"well":  {func() error { return nil }, "", nil},
		"error": {func() error { return failure }, "no", []string{"error"}},
		"panic": {func() error { panic("boom") }, "panic: boom", []string{"error", "stack"}},
	} {
		err := contain.Call(test.f)
		if err == nil != (test.text == "") || err != nil && err.Error() != test.text {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			continue
		}
		var names []string
		for _, field := range contain.Fields(err) {
			names = append(names, field.Name)
		}
		if !slices.Equal(names, test.fields) {
			t.Errorf("%s: fields %v, want %v", name, names, test.fields)
		}
	}
}
