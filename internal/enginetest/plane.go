package enginetest

import (
	"testing"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/proto"
)

// Plane is a control plane with reports.
type Plane struct {
	*reports.Reports

	Server *aibridgedserver.Server
	DB     aibridgedserver.Database
}

// OpenPlane returns a control plane over the database of a path, which may be open already. The end of the test closes it.
func (e *Engine) OpenPlane(tb testing.TB, path string, overrides ...prices.Override) Plane {
	tb.Helper()
	book, err := prices.New(overrides)
	if err != nil {
		tb.Fatal(err)
	}
	db := e.Open(tb, path)
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	server, err := aibridgedserver.New(tb.Context(), db, aibridgedserver.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := server.Close(); err != nil {
			tb.Error(err)
		}
	})
	return Plane{reports.New(db, server, book), server, db}
}

// Record stores records, each of which has to be stored.
func (p Plane) Record(tb testing.TB, records ...*proto.Record) {
	tb.Helper()
	response, err := p.Server.RecordBatch(tb.Context(), &proto.RecordBatchRequest{Records: records})
	if err != nil || len(response.GetFailures()) > 0 {
		tb.Fatal(err, response.GetFailures())
	}
}

// DigestAll derives all that is to be derived from the records.
func (p Plane) DigestAll(tb testing.TB) {
	tb.Helper()
	if _, err := p.Digest(tb.Context(), reports.DigestOptions{}); err != nil {
		tb.Fatal(err)
	}
}
