package memory

import (
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// unknown is what a process is taken to have if nothing says how much it may use.
const unknown = 4 << 30

// Available returns how many bytes of memory the process may use: the least of the limit of its control group, the
// memory of the machine and GOMEMLIMIT.
func Available() int64 {
	least := uint64(math.MaxUint64)
	for _, limit := range []func() (uint64, error){memlimit.FromCgroup, memlimit.FromSystem} {
		if n, err := limit(); err == nil && n > 0 { // An error means that there is no such limit here.
			least = min(least, n)
		}
	}
	if least > math.MaxInt64 {
		least = unknown
	}
	return min(int64(least), debug.SetMemoryLimit(-1))
}
