package controlplane

import (
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

// heartbeat bounds how long a link that has gone silent is taken for a live one: a ping may be one interval away, be
// written for one timeout and be waited for another.
type heartbeat struct {
	interval time.Duration
	timeout  time.Duration
}

func defaultHeartbeat() heartbeat {
	return heartbeat{interval: 15 * time.Second, timeout: 10 * time.Second}
}

// sessionConfig returns the configuration of both ends' sessions. What yamux would log, callers get as errors.
func sessionConfig(h heartbeat) *yamux.Config {
	config := yamux.DefaultConfig()
	config.EnableKeepAlive = true
	config.KeepAliveInterval = h.interval
	config.ConnectionWriteTimeout = h.timeout
	config.StreamOpenTimeout = h.interval + 2*h.timeout
	config.StreamCloseTimeout = 30 * time.Second // A handler may take a while to notice that its call was given up.
	config.LogOutput = io.Discard
	return config
}
