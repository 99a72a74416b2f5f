package aibridged_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// TestAllRefused has a control plane that refuses every record and does not say why. For minutes the queue takes that
// for a fault of the control plane and gives up nothing. After that it takes the record for faulty, and later records
// go on.
func TestAllRefused(t *testing.T) {
	for name, test := range map[string]struct {
		away, back, heals time.Duration // Away from away to back; otherwise it refuses until heals.
		stored, dead      int
	}{
		"for a while":            {heals: 4 * time.Minute, stored: 4, dead: 0},
		"for long":               {heals: time.Hour, stored: 0, dead: 4},
		"around a time not here": {away: time.Minute, back: time.Hour, heals: time.Hour + 4*time.Minute, stored: 4, dead: 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				control := &oldControl{ControlPlane: &testkit.ControlPlane{
					Record: func(context.Context, *proto.RecordBatchRequest) (*proto.RecordBatchResponse, error) {
						switch now := time.Since(began); {
						case now >= test.away && now < test.back:
							return nil, drpcerr.WithCode(errors.New("not here"), 14)
						case now < test.heals:
							return nil, errors.New("insert record")
						}
						return &proto.RecordBatchResponse{}, nil
					},
				}}
				registry := prometheus.NewRegistry()
				recorder := recorderOf(t, aibridged.ServerOptions{Metrics: aibridged.NewMetrics(registry)}, controlplane.InProcess(control))
				record(t, recorder, startOf(uuid.New()))
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if stored, dead := len(control.Records()), gather(t, registry)["records_dead"]; stored != test.stored || dead != float64(test.dead) {
					t.Errorf("%d records stored and %g dead, want %d and %d", stored, dead, test.stored, test.dead)
				}
				record(t, recorder, startOf(uuid.New()))
				time.Sleep(time.Minute)
				synctest.Wait()
				if stored := len(control.Records()); stored != test.stored+4 {
					t.Errorf("%d records stored after the next interception, want %d", stored, test.stored+4)
				}
			})
		})
	}
}

// TestRecordsLostInMemory shuts down a server that keeps records in memory while its control plane is away: Shutdown's
// error says how many records are lost.
func TestRecordsLostInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		control := newAway()
		var recorder aibridge.Recorder
		server, err := aibridged.NewServer(t.Context(), recorderPool{&recorder}, controlplane.InProcess(control), aibridged.ServerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		record(t, recorder, startOf(uuid.New()))
		if err := server.Close(); err == nil || err.Error() != "4 records were not delivered and are lost" {
			t.Errorf("closed with %v", err)
		}
	})
}
