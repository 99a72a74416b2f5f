package aibridged

import (
	"errors"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/contain"
)

// contained calls f, whose panic becomes an error: it must not end the process of whoever embeds the gateway.
func contained(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = contain.Recovered(value)
		}
	}()
	return f()
}

// withStack returns err for a log: a panic comes with its stack.
func withStack(err error) []slog.Field {
	fields := []slog.Field{slog.Error(err)}
	if panicked, ok := errors.AsType[*contain.Panic](err); ok {
		fields = append(fields, slog.F("stack", string(panicked.Stack)))
	}
	return fields
}
