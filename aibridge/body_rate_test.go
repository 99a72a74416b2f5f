package aibridge

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged/internal/apierror"
)

// sender is a request body that comes in pieces, and a client's writer with a read deadline.
type sender struct {
	http.ResponseWriter

	pieces   []piece
	deadline time.Time
}

// piece is a number of bytes that come after a pause.
type piece struct {
	pause time.Duration
	bytes int
}

func (s *sender) Header() http.Header { return http.Header{} }

func (s *sender) SetReadDeadline(deadline time.Time) error {
	s.deadline = deadline
	return nil
}

func (s *sender) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	next := &s.pieces[0]
	if wait := time.Until(s.deadline); !s.deadline.IsZero() && wait < next.pause {
		time.Sleep(wait)
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(next.pause)
	next.pause = 0
	n := copy(p[:min(len(p), next.bytes)], strings.Repeat(" ", min(len(p), next.bytes)))
	if next.bytes -= n; next.bytes == 0 {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

func (*sender) Close() error { return nil }

// dripping returns pieces of a body that come at a steady pace.
func dripping(pieces int, pause time.Duration, bytes int) []piece {
	all := make([]piece, pieces)
	for i := range all {
		all[i] = piece{pause, bytes}
	}
	return all
}

// TestBodyRate sends bodies at different paces. The times are those of a synctest bubble.
func TestBodyRate(t *testing.T) {
	for name, test := range map[string]struct {
		pieces []piece
		ends   time.Duration // When the body is refused. Zero: it is read to its end.
	}{
		"at once":                              {[]piece{{0, 1 << 20}}, 0},
		"a slow uplink, 1 KB a second":         {dripping(600, time.Second, 1000), 0},
		"just fast enough":                     {dripping(600, time.Second, leastBodyRate+1), 0},
		"a slow disk: 9 s, then all":           {[]piece{{9 * time.Second, 1 << 20}}, 0},
		"a pause of 29 s in a large body":      {[]piece{{0, 1 << 20}, {29 * time.Second, 1 << 20}, {29 * time.Second, 9}}, 0},
		"nothing":                              {[]piece{{time.Hour, 1}}, 10 * time.Second},
		"a byte a second":                      {dripping(600, time.Second, 1), 10 * time.Second},
		"a byte each 9 s":                      {dripping(600, 9*time.Second, 1), 10 * time.Second},
		"half of the rate":                     {dripping(600, time.Second, leastBodyRate/2), 10 * time.Second},
		"just too slow":                        {dripping(600, time.Second, leastBodyRate-40), 25 * time.Second},
		"1 MiB, then nothing":                  {[]piece{{0, 1 << 20}, {time.Hour, 1}}, 30 * time.Second},
		"1 MiB, then a byte a second":          {append([]piece{{0, 1 << 20}}, dripping(600, time.Second, 1)...), 30 * time.Second},
		"1 MiB, then a byte each 29 s":         {append([]piece{{0, 1 << 20}}, dripping(600, 29*time.Second, 1)...), 30 * time.Second},
		"a minute of enough, then half of it":  {append(dripping(60, time.Second, 2*leastBodyRate), dripping(600, time.Second, leastBodyRate/2)...), 120 * time.Second},
		"chunks each 25 s that are large":      {append([]piece{{0, 8000}}, dripping(20, 25*time.Second, 8000)...), 0},
		"chunks each 25 s that are too small":  {append([]piece{{0, 8000}}, dripping(20, 25*time.Second, 3000)...), 42 * time.Second},
		"a pause of 31 s after a lot":          {[]piece{{0, 1 << 20}, {31 * time.Second, 1 << 20}}, 30 * time.Second},
		"fast at last does not make up for 10": {[]piece{{11 * time.Second, 1 << 20}}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sender{pieces: test.pieces}
				r := &http.Request{Method: http.MethodPost, Body: s, ContentLength: -1, Header: http.Header{}}
				began := time.Now()
				_, err := readBody(s, r, Limits{}.withDefaults(), nil)
				took := time.Since(began)
				if test.ends == 0 {
					if err != nil || !s.deadline.IsZero() {
						t.Errorf("after %v: %v, with a deadline left: %v", took, err, s.deadline)
					}
					return
				}
				refusal, ok := errors.AsType[*apierror.Error](err)
				if !ok || refusal.Status != http.StatusRequestTimeout || (took-test.ends).Abs() > time.Second {
					t.Errorf("after %v: %v, want a refusal after %v", took, err, test.ends)
				}
			})
		})
	}
}
