// Package contain turns panics into errors, so that what one call did wrong does not end the process.
package contain

import (
	"errors"
	"fmt"
	"runtime/debug"

	"cdr.dev/slog/v3"
)

// Panic is a recovered panic. Its text holds the value and not the stack: who logs the error asks for [*Panic] with
// errors.AsType and logs the stack beside it.
type Panic struct {
	Value any
	Stack []byte
}

// Recovered returns the panic that recover returned value for. It must be called by the deferred function that
// recovered, which is when the stack still shows where the panic began.
func Recovered(value any) *Panic {
	return &Panic{Value: value, Stack: debug.Stack()}
}

// Error returns the value.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Call calls f and returns its error, or its panic as a [*Panic].
func Call(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = Recovered(value)
		}
	}()
	return f()
}

// Fields returns err for a log: a panic comes with its stack.
func Fields(err error) []slog.Field {
	fields := []slog.Field{slog.Error(err)}
	if panicked, ok := errors.AsType[*Panic](err); ok {
		fields = append(fields, slog.F("stack", string(panicked.Stack)))
	}
	return fields
}
