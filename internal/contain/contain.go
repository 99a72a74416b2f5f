// Package contain turns panics into errors, so that a panic in one call does not end the process.
package contain

import (
	"errors"
	"fmt"
	"runtime/debug"

	"cdr.dev/slog/v3"
)

// Panic is a recovered panic. Its text holds the value and not the stack; [Fields] returns both for a log.
type Panic struct {
	Value any
	Stack []byte
}

// Recovered returns a [*Panic] with value, which recover returned, and the stack. The deferred function that recovered
// must call it, because only then does the stack show where the panic began.
func Recovered(value any) *Panic {
	return &Panic{Value: value, Stack: debug.Stack()}
}

// Error returns the value.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Unwrap returns the value if it is an error, so that errors.Is finds it.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Call calls f and returns its error, or its panic as a [*Panic].
func Call(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = Recovered(value)
		}
	}()
	return f()
}

// Fields returns the log fields for err: the error and, if it wraps a [*Panic], the stack.
func Fields(err error) []slog.Field {
	fields := []slog.Field{slog.Error(err)}
	if panicked, ok := errors.AsType[*Panic](err); ok {
		fields = append(fields, slog.F("stack", string(panicked.Stack)))
	}
	return fields
}
