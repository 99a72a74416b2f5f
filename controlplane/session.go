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

// defaultSilence is how long the other end may be silent unless an option says otherwise.
const defaultSilence = 35 * time.Second

// heartbeatWithin returns a heartbeat by which a link that is dead counts as alive for a time at most.
func heartbeatWithin(silence time.Duration) heartbeat {
	return heartbeat{interval: silence / 7 * 3, timeout: silence / 7 * 2}
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
