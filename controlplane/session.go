package controlplane

import (
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

// heartbeat bounds how long a dead link counts as alive: one interval until the next ping, one timeout for writing it,
// and one timeout for its answer.
type heartbeat struct {
	interval time.Duration
	timeout  time.Duration
}

func defaultHeartbeat() heartbeat {
	return heartbeat{interval: 15 * time.Second, timeout: 10 * time.Second}
}

// sessionConfig returns the configuration of the sessions of both ends. The log of yamux is discarded, since callers
// get the same failures as errors.
func sessionConfig(h heartbeat) *yamux.Config {
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = true
	config.KeepAliveInterval = h.interval
	config.ConnectionWriteTimeout = h.timeout
	config.StreamOpenTimeout = h.interval + 2*h.timeout
	config.StreamCloseTimeout = 30 * time.Second // A handler may take a while to notice that its caller has given up.
	config.LogOutput = io.Discard
	return config
}
