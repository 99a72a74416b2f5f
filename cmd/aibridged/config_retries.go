package main

import (
	"time"

	"github.com/coder/aibridged/aibridge"
)

// retriesConfig is [aibridge.RetryOptions].
type retriesConfig struct {
	Attempts int           `json:"attempts,omitempty"`
	MaxWait  time.Duration `json:"max_wait,omitempty"`
}

func (r retriesConfig) options() aibridge.RetryOptions {
	return aibridge.RetryOptions{Attempts: r.Attempts, MaxWait: r.MaxWait}
}
