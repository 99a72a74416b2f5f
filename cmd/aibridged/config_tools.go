package main

import (
	"fmt"
	"time"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
)

// toolsConfig is what tools of the gateway may take of one request. Zero is the default.
type toolsConfig struct {
	Rounds      int           `yaml:"rounds"`
	Calls       int           `yaml:"calls"`
	Call        time.Duration `yaml:"call"`
	Total       time.Duration `yaml:"total"`
	PerRequest  int           `yaml:"per_request"`
	ResultBytes int           `yaml:"result_bytes"`
	Ping        time.Duration `yaml:"ping"`
	Wait        time.Duration `yaml:"wait"`
	Connect     time.Duration `yaml:"connect"`
}

// limits returns what the relay bounds.
func (t toolsConfig) limits() aibridge.ToolLimits {
	return aibridge.ToolLimits{Rounds: t.Rounds, Calls: t.Calls, Call: t.Call, Total: t.Total, Tools: t.PerRequest, Ping: t.Ping}
}

// sessions returns what the sessions with MCP servers bound. The relay ends a call first, with an error that the model reads.
func (t toolsConfig) sessions() aibridged.MCPOptions {
	options := aibridged.MCPOptions{Wait: t.Wait, ConnectTimeout: t.Connect, ResultBytes: t.ResultBytes}
	if t.Call > 0 {
		options.CallTimeout = t.Call + time.Second
	}
	return options
}

// check refuses a limit below zero.
func (t toolsConfig) check() error {
	for field, value := range map[string]int64{
		"rounds": int64(t.Rounds), "calls": int64(t.Calls), "call": int64(t.Call), "total": int64(t.Total), "per_request": int64(t.PerRequest),
		"result_bytes": int64(t.ResultBytes), "ping": int64(t.Ping), "wait": int64(t.Wait), "connect": int64(t.Connect),
	} {
		if value < 0 {
			return fmt.Errorf("%s must not be negative", field)
		}
	}
	return nil
}
