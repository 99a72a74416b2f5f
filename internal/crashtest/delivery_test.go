package crashtest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
)

const (
	// deliverPatience is how long the delivery of records may take while nothing hinders it.
	deliverPatience = 60 * time.Second
	// shownComplaints is how many complaints a test shows.
	shownComplaints = 20
)

// pending returns how many records the gateway has not delivered.
func (s *stage) pending() (float64, error) {
	return s.metric("http://"+s.gatewayTask.Address+"/metrics", "records_pending")
}

// metric returns the value of a metric without labels.
func (s *stage) metric(url, name string) (float64, error) {
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := s.front.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(io.LimitReader(response.Body, answerMax)); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", url, name)
}

// awaitDelivery waits until the gateway has delivered all records. Meanwhile it checks that they come in order.
func (s *stage) awaitDelivery() {
	s.t.Helper()
	s.going()
	s.await(deliverPatience, "delivery of all records", func() bool {
		s.checkOrder()
		pending, err := s.pending()
		s.must(err)
		return pending == 0
	})
}

// checkRecords compares the records once all are delivered and all processes have ended. It returns how many
// interceptions there are, and how many of them were cut.
func (s *stage) checkRecords() (recorded, cut int) {
	s.t.Helper()
	return s.checkRecordsOf(gatewayLives{s.records, s.lives})
}

// gatewayLives are the lives of a gateway on a directory for records.
type gatewayLives struct {
	records string
	lives   []life
}

// checkRecordsOf is checkRecords for several gateways.
func (s *stage) checkRecordsOf(gateways ...gatewayLives) (recorded, cut int) {
	s.t.Helper()
	s.going()
	s.upstream.Close() // Waits for the answers under way, so that the ledger is complete.
	var all []*aibridgedserver.Interception
	for interception, err := range s.store.Interceptions(s.ctx, aibridgedserver.InterceptionFilter{}) {
		s.must(err)
		all = append(all, interception)
	}
	var lives [][]life
	complaints := s.strays()
	for _, gateway := range gateways {
		lives = append(lives, gateway.lives)
		complaints = append(complaints, s.setAside(gateway.records)...)
	}
	c := s.ledger.comparison(lives...)
	complaints = append(complaints, c.run(all)...)
	for _, complaint := range complaints[:min(len(complaints), shownComplaints)] {
		s.t.Error(complaint)
	}
	if more := len(complaints) - shownComplaints; more > 0 {
		s.t.Errorf("and %d more", more)
	}
	return len(all), c.cut
}
