package aibridgedserver

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// EncryptionKey is a key of AES-256.
type EncryptionKey [32]byte

// ErrWrongKey says that secrets in the database are encrypted with a key that is not there.
var ErrWrongKey = errors.New("they are encrypted with another key")

// ID tells keys apart, also for people: an export says which key its secrets need. It does not give the key away.
func (k EncryptionKey) ID() string {
	sum := sha256.Sum256(append([]byte("aibridged key id "), k[:]...))
	return hex.EncodeToString(sum[:6])
}

// errDamaged says that a secret cannot be read with the key that it names.
var errDamaged = errors.New("the encrypted secret is damaged, or was moved")

const (
	// sealedPrefix begins what is stored for a secret that is encrypted. The id of the key follows, a colon, and in base64
	// the nonce and the cipher text.
	sealedPrefix = "aes-256-gcm:"
	probeText    = "aibridged"
	probePlace   = "probe"
)

// secrets turns secrets into what is stored, and back. All secrets that can be read again go through it. A secret that is
// encrypted can be read only in the place for which it was: a row that is copied over another one is of no use.
//
// Without keys, secrets are stored as they are; what keeps them then is that only the gateway's user can read the database.
type secrets struct {
	keys func(first bool) ([]EncryptionKey, error) // Nil: there are none.

	mu   sync.Mutex
	ring map[string]EncryptionKey // By id. Guarded by mu.
}

// start makes the database encrypted if it is not. With check, it fails with [ErrWrongKey] if it is, with another key, or if one of
// the secrets is.
func (s *secrets) start(ctx context.Context, db Database, check bool) error {
	if s.keys == nil {
		return nil
	}
	id, probe, err := encryptionOf(ctx, db.Reader)
	if err == nil && id == "" {
		if err := s.begin(ctx, db); err != nil {
			return fmt.Errorf("encrypt the secrets: %w", err)
		}
		id, probe, err = encryptionOf(ctx, db.Reader) // Another process may have been faster.
	}
	if err != nil {
		return fmt.Errorf("read how secrets are encrypted: %w", err)
	}
	if !check {
		return nil
	}
	if _, err := s.open(probe, probePlace); err != nil {
		return fmt.Errorf("secrets: key %s: %w", id, err)
	}
	ids, err := keysOfSecrets(ctx, db.Reader)
	if err != nil {
		return fmt.Errorf("read how secrets are encrypted: %w", err)
	}
	return s.haveAll(ids)
}

// haveAll fails with [ErrWrongKey] if one of the keys of these ids is not there.
func (s *secrets) haveAll(ids []string) error {
	for _, id := range ids {
		if _, err := s.key(id); err != nil {
			return fmt.Errorf("secrets: key %s: %w", id, err)
		}
	}
	return nil
}

// keysOfSecrets returns the ids of the keys that secrets in the database are encrypted with, in ascending order.
func keysOfSecrets(ctx context.Context, db querier) ([]string, error) {
	ids := map[string]bool{}
	for _, query := range []string{`SELECT sealed FROM kept_secrets`, `SELECT access_token FROM mcp_access_tokens`} {
		err := each(ctx, db, query, nil, func(rows *sql.Rows) error {
			var stored string
			err := rows.Scan(&stored)
			if id, sealed := keyOfSealed(stored); sealed {
				ids[id] = true
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

// keyOfSealed returns the id of the key that a secret is encrypted with, and false if it is not.
func keyOfSealed(stored string) (id string, sealed bool) {
	rest, sealed := strings.CutPrefix(stored, sealedPrefix)
	id, _, _ = strings.Cut(rest, ":")
	return id, sealed
}

// encryptionOf returns the id of the key that secrets are encrypted with, and the probe. The id is empty if they are not
// encrypted.
func encryptionOf(ctx context.Context, db querier) (id, probe string, err error) {
	err = each(ctx, db, `SELECT key_id, probe FROM encryption`, nil, func(rows *sql.Rows) error { return rows.Scan(&id, &probe) })
	return id, probe, err
}

// begin encrypts what is stored as it is.
func (s *secrets) begin(ctx context.Context, db Database) error {
	keys, err := s.read(true)
	if err != nil {
		return err
	}
	return inTurn(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		id, _, err := encryptionOf(ctx, tx)
		if err != nil || id != "" {
			return err
		}
		return s.encryptAll(ctx, tx, keys[0], nil)
	})
}

// sealedRow is a secret in the database.
type sealedRow struct {
	place, stored  string
	update, remove string // Statements; what names the row is $1, and $2 if there are two.
	names          []any
}

// rows returns all secrets in the database.
func (s *secrets) rows(ctx context.Context, tx *sql.Tx) (all []sealedRow, err error) {
	err = each(ctx, tx, `SELECT id, sealed FROM kept_secrets`, nil, func(rows *sql.Rows) error {
		var id, stored string
		err := rows.Scan(&id, &stored)
		all = append(all, sealedRow{
			keptPlace(id), stored, `UPDATE kept_secrets SET sealed = $2 WHERE id = $1`, `DELETE FROM kept_secrets WHERE id = $1`, []any{id},
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each(ctx, tx, `SELECT user_id, mcp_server_id, access_token FROM mcp_access_tokens`, nil, func(rows *sql.Rows) error {
		var user, server, stored string
		err := rows.Scan(&user, &server, &stored)
		all = append(all, sealedRow{
			tokenPlace(user, server), stored, `UPDATE mcp_access_tokens SET access_token = $3 WHERE user_id = $1 AND mcp_server_id = $2`,
			`DELETE FROM mcp_access_tokens WHERE user_id = $1 AND mcp_server_id = $2`, []any{user, server},
		})
		return err
	})
	return all, err
}

// encryptAll encrypts all secrets with a key. A secret that cannot be read is an error if dropped is nil; otherwise it is
// deleted and counted there.
func (s *secrets) encryptAll(ctx context.Context, tx *sql.Tx, key EncryptionKey, dropped *int) error {
	all, err := s.rows(ctx, tx)
	if err != nil {
		return err
	}
	for _, row := range all {
		secret, err := s.open(row.stored, row.place)
		switch {
		case err == nil:
			_, err = tx.ExecContext(ctx, row.update, append(row.names, sealWith(key, secret, row.place))...)
		case dropped != nil:
			*dropped++
			_, err = tx.ExecContext(ctx, row.remove, row.names...)
		}
		if err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO encryption (only_row, key_id, probe) VALUES (TRUE, $1, $2)
		ON CONFLICT (only_row) DO UPDATE SET key_id = excluded.key_id, probe = excluded.probe`,
		key.ID(), sealWith(key, probeText, probePlace))
	return err
}

// read asks for the keys anew.
func (s *secrets) read(first bool) ([]EncryptionKey, error) {
	keys, err := s.keys(first)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring = make(map[string]EncryptionKey, len(keys))
	for _, key := range keys {
		s.ring[key.ID()] = key
	}
	return keys, nil
}

// key returns the key of an id. It asks for the keys anew if it is not known: another process may have changed them.
func (s *secrets) key(id string) (EncryptionKey, error) {
	s.mu.Lock()
	key, known := s.ring[id]
	s.mu.Unlock()
	if known {
		return key, nil
	}
	if s.keys == nil {
		return key, ErrWrongKey
	}
	if _, err := s.read(false); err != nil {
		return key, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, known = s.ring[id]; !known {
		return key, ErrWrongKey
	}
	return key, nil
}

// seal returns what to store for a secret in a place. It uses the key with which the secrets in the database are encrypted
// in this transaction, so that none is left behind where another process changes the key at the same time.
func (s *secrets) seal(ctx context.Context, tx *sql.Tx, secret, place string) (stored string, err error) {
	id, _, err := encryptionOf(ctx, tx)
	if err != nil || id == "" {
		return secret, err
	}
	key, err := s.key(id)
	if err != nil {
		return "", err
	}
	return sealWith(key, secret, place), nil
}

func sealWith(key EncryptionKey, secret, place string) string {
	nonce := make([]byte, 12)
	_, _ = rand.Read(nonce) // It never fails.
	return sealedPrefix + key.ID() + ":" + base64.StdEncoding.EncodeToString(aead(key).Seal(nonce, nonce, []byte(secret), []byte(place)))
}

func aead(key EncryptionKey) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // The length is right.
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // The size of its blocks is right.
	}
	return gcm
}

// open returns the secret that was stored in a place. Its errors hold nothing of it.
func (s *secrets) open(stored, place string) (secret string, err error) {
	rest, sealed := strings.CutPrefix(stored, sealedPrefix)
	if !sealed {
		return stored, nil
	}
	id, text, _ := strings.Cut(rest, ":")
	key, err := s.key(id)
	if err != nil {
		return "", err
	}
	data, err := base64.StdEncoding.DecodeString(text)
	cipher := aead(key)
	if err != nil || len(data) < cipher.NonceSize() {
		return "", errDamaged
	}
	opened, err := cipher.Open(nil, data[:cipher.NonceSize()], data[cipher.NonceSize():], []byte(place))
	if err != nil {
		return "", errDamaged
	}
	return string(opened), nil
}

// RotateSecrets encrypts all secrets with the first of [Options.EncryptionKeys]. With drop, secrets that cannot be read are
// deleted and counted; otherwise one of these is an error, and nothing changes.
func (s *Server) RotateSecrets(ctx context.Context, drop bool) (dropped int, err error) {
	if s.secrets.keys == nil {
		return 0, errors.New("rotate secrets: there is no key")
	}
	err = s.reconfigure(ctx, func(ctx context.Context, tx *sql.Tx) error {
		keys, err := s.secrets.read(false)
		if err != nil {
			return err
		}
		dropped = 0
		if drop {
			return s.secrets.encryptAll(ctx, tx, keys[0], &dropped)
		}
		return s.secrets.encryptAll(ctx, tx, keys[0], nil)
	})
	if err != nil {
		return 0, fmt.Errorf("rotate secrets: %w", err)
	}
	return dropped, nil
}
