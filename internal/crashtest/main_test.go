package crashtest

import (
	"flag"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also the main function of the processes that tests start: see task.
func TestMain(m *testing.M) {
	if text := os.Getenv(taskVariable); text != "" {
		os.Exit(runTask(text))
	}
	flag.Int("kills", 10, "how often the gateway is killed")
	flag.Duration("away", 2*time.Second, "how long the control plane is away")
	flag.Duration("chaos", 20*time.Second, "how long a fleet is in chaos, at least for one storm and the calm after it")
	flag.Int("losses", 0, "how many power failures at random there are before each step; 0 means one in four steps")
	flag.Int("power-kills", 2, "how many hosts are killed within a write of the queue, and how many within one of the database, before their power fails")
	flag.Uint64("seed", 0, "of all that is random; 0 means another one each time")
	goleak.VerifyTestMain(m)
}

// option returns the value of a flag of this binary.
func option[T any](name string) T {
	return flag.Lookup(name).Value.(flag.Getter).Get().(T)
}
