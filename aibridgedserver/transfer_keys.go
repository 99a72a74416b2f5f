package aibridgedserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// exportedKeys is the first row of an export: the keys that one needs to read its secrets.
type exportedKeys struct {
	Table  string   `json:"table"`
	KeyIDs []string `json:"key_ids"`
}

const (
	keysTable = "encryption"
	// keysRow is how the row begins.
	keysRow = `{"table":"` + keysTable + `",`
)

// exportKeys returns the first row.
func (s *Server) exportKeys(ctx context.Context) ([]byte, error) {
	ids, err := keysOfSecrets(ctx, s.db.Reader)
	if err != nil {
		return nil, err
	}
	return marshal(exportedKeys{keysTable, append([]string{}, ids...)})
}

func isKeys(row []byte) bool { return bytes.HasPrefix(row, []byte(keysRow)) }

func parseKeys(row []byte) ([]string, error) {
	var keys exportedKeys
	if err := json.Unmarshal(row, &keys); err != nil {
		return nil, fmt.Errorf("keys of the secrets: %w", err)
	}
	return keys.KeyIDs, nil
}

// KeysOfExport returns the ids of the keys that the secrets of an export are encrypted with; see [EncryptionKey.ID]. It reads one row
// if that says it, and else, in an export of an earlier version, all before the first record. First says that it was one row.
func KeysOfExport(rows iter.Seq2[[]byte, error]) (ids []string, first bool, err error) {
	tables, found := storedTables(), map[string]bool{}
	for row, err := range rows {
		if err != nil {
			return nil, false, err
		}
		if isKeys(row) {
			ids, err := parseKeys(row)
			return ids, true, err
		}
		if len(bytes.TrimSpace(row)) == 0 || isTurn(row) {
			continue
		}
		table, values, err := parseRow(tables, row)
		if err != nil {
			return nil, false, err
		}
		if tables[table].records {
			break
		}
		if stored, _ := sealedIn(tables[table].name, values); stored != "" {
			if id, sealed := keyOfSealed(stored); sealed {
				found[id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), false, nil
}
