package crashtest

import (
	"strings"
	"testing"
)

// walName is the file of the database's write-ahead log.
const walName = databaseName + "-wal"

// unsynced returns the steps before which the log of the queue, or of the database, ends in a complete write that is
// not synced yet.
func (m *machine) unsynced(ofQueue bool) []int {
	var found []int
	logs, steps := map[int]bool{}, m.all()
	for n, s := range steps {
		if s.what == created {
			logs[s.file] = ofQueue && isQueue(s.name) && strings.HasSuffix(s.name, ".log") || !ofQueue && s.name == walName
		}
		if s.what == synced && logs[s.file] && steps[n-1].what == wrote && steps[n-1].file == s.file {
			found = append(found, n)
		}
	}
	return found
}

// checkDatabaseSteps fails where a machine's log lacks a kind of step that matters to the database: a test on such a
// log would prove nothing.
func checkDatabaseSteps(t *testing.T, m *machine) {
	t.Helper()
	names, counts := map[int]string{}, map[string]int{}
	for _, s := range m.all() {
		switch s.what {
		case created:
			names[s.file] = s.name
			counts["made "+s.name]++
		case removed:
			counts["removed "+s.name]++
		case wrote:
			counts["written "+names[s.file]]++
			if names[s.file] == walName && s.offset == 0 {
				counts["log begun"]++
			}
		case truncated:
			counts["cut "+names[s.file]]++
		case synced:
			counts["synced "+names[s.file]]++
		}
	}
	for step, least := range map[string]int{
		"made " + databaseName: 1, "made " + walName: 2, "removed " + walName: 2, "cut " + walName: 1, "log begun": 4,
		"written " + databaseName: 30, "synced " + databaseName: 5, "written " + walName: 50, "synced " + walName: 5,
	} {
		if counts[step] < least {
			t.Errorf("%s: %d times, want %d", step, counts[step], least)
		}
	}
	t.Logf("%d steps, of the database: %v", len(m.all()), counts)
}
