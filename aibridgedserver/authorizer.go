package aibridgedserver

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/coder/aibridged/proto"
)

// errUnauthorized says no more than that: which part of a key is wrong is nobody's business.
var errUnauthorized = errors.New("unauthorized")

const findKey = `SELECT k.secret_sha256, k.expires_at, k.revoked_at, u.id, u.username
	FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = $1`

// storedKey is an API key as the database has it. The zero value belongs to nobody and no secret fits it.
type storedKey struct {
	secretSHA256 []byte
	expiresAt    sql.NullInt64
	revokedAt    sql.NullInt64
	ownerID      string
	username     string
}

// IsAuthorized tells who a key belongs to. It remembers that for as long as no key and no user changes: a key that is
// revoked or changed by any process is answered for as before for 100 ms at most, by this server's own methods or when it
// expires not at all. The token itself is not kept.
//
// A refusal is always the same error and has no code; a failure of the database has the code of an unavailable server.
func (s *Server) IsAuthorized(
	ctx context.Context, in *proto.IsAuthorizedRequest,
) (*proto.IsAuthorizedResponse, error) {
	id, secret, ok := presented(in)
	if !ok {
		return nil, errUnauthorized
	}
	delegated := in.GetKeyId() != ""
	whole := presentedKey{delegated: delegated, sha256: sha256.Sum256([]byte(in.GetKey() + in.GetKeyId()))} // One is empty.
	answer, epoch := s.known.get(ctx, whole)
	if answer != nil {
		return answer, nil
	}
	key, err := s.storedKey(ctx, id)
	if err != nil {
		return nil, unavailable(fmt.Errorf("look up key: %w", err))
	}
	// Everything is looked at whatever was found before, so that no refusal is quicker than another.
	given := sha256.Sum256([]byte(secret))
	genuine := subtle.ConstantTimeCompare(given[:], key.secretSHA256) == 1 || delegated
	lapsed := key.revokedAt.Valid || key.expiresAt.Valid && key.expiresAt.Int64 <= time.Now().UnixMicro()
	if known := key.ownerID != ""; !known || !genuine || lapsed {
		return nil, errUnauthorized
	}
	answer = &proto.IsAuthorizedResponse{OwnerId: key.ownerID, ApiKeyId: id, Username: key.username}
	s.known.put(whole, knownKey{answer, key.expiresAt.Int64}, epoch)
	return answer, nil
}

// presented returns the id and the secret that a request presents, if it presents what can be a key at all. A delegated
// key has no secret.
func presented(in *proto.IsAuthorizedRequest) (id, secret string, ok bool) {
	key, id := in.GetKey(), in.GetKeyId()
	switch {
	case key != "" && id != "":
		return "", "", false
	case key != "":
		return splitToken(key)
	default:
		return id, "", isTokenID(id)
	}
}

// storedKey returns the key with that id, or the zero one where there is none.
func (s *Server) storedKey(ctx context.Context, id string) (storedKey, error) {
	// A key that does not exist is compared with a hash of the right length, like one that does.
	key := storedKey{secretSHA256: make([]byte, sha256.Size)}
	err := s.keys.QueryRowContext(ctx, id).
		Scan(&key.secretSHA256, &key.expiresAt, &key.revokedAt, &key.ownerID, &key.username)
	if errors.Is(err, sql.ErrNoRows) {
		return key, nil
	}
	return key, err
}
