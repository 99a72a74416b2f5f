package main

import (
	"time"

	"github.com/coder/aibridged/aibridge"
)

// retriesConfig is [aibridge.RetryOptions].
type retriesConfig struct {
	Attempts int           `yaml:"attempts"`
	MaxWait  time.Duration `yaml:"max_wait"`
}

func (r retriesConfig) options() aibridge.RetryOptions {
	return aibridge.RetryOptions{Attempts: r.Attempts, MaxWait: r.MaxWait}
}
