package crashtest

import (
	"slices"
	"sync"
	"time"
)

// promised is how soon everything is right again once all parts run and all connections work.
const promised = 10 * time.Second

// allowed is promised, and a second more for a machine that is busy. What a test measured is in its log.
const allowed = promised + time.Second

// everyGateway is the number of the gateway of an outage that is one for all of them.
const everyGateway = -1

// outage is a time in which a gateway may refuse requests, by the clock of this machine: a part is away, or a connection
// does not work.
type outage struct {
	what        string
	gateway     int
	from, until time.Time // Until is zero while it lasts.
}

// outages are those of a test. They are safe for concurrent use.
type outages struct {
	mu  sync.Mutex
	all []outage // Guarded by mu.
}

// begin notes the begin of an outage, and returns what notes its end.
func (o *outages) begin(what string, gateway int) (end func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.all)
	o.all = append(o.all, outage{what: what, gateway: gateway, from: time.Now()})
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.all[n].until = time.Now()
	}
}

// count returns how many there were of each kind.
func (o *outages) count() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	counts := map[string]int{}
	for _, one := range o.all {
		counts[one.what]++
	}
	return counts
}

// since returns how long all outages of a refused attempt's gateway were over when it was refused. Zero: one lasted.
func (o *outages) since(a attempt) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := time.Time{}
	for _, one := range o.all {
		if one.gateway != everyGateway && one.gateway != a.gateway || one.from.After(a.ended) {
			continue
		}
		if one.until.IsZero() || one.until.After(a.ended) {
			return 0
		}
		last = slices.MaxFunc([]time.Time{last, one.until}, time.Time.Compare)
	}
	return a.ended.Sub(last)
}
