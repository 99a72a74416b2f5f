package tableversion

import (
	"errors"
	"testing"
	"testing/fstest"
)

func TestVersions(t *testing.T) {
	files := fstest.MapFS{"migrations/00002_b.sql": {}, "migrations/00011_gap.sql": {}, "migrations/00001_a.sql": {}, "migrations/readme.md": {}}
	for version, want := range map[int64]error{0: ErrOlder, 10: ErrOlder, 11: nil, 12: ErrNewer} {
		if err := errors.Join(RefuseOlder(files, version), RefuseNewer(files, version)); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("version %d: %v, want %v", version, err, want)
		}
	}
	if err := RefuseNewer(fstest.MapFS{"migrations/x.sql": {}}, 1); err == nil || errors.Is(err, ErrNewer) {
		t.Errorf("a migration without a version: %v", err)
	}
}
