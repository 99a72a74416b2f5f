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

// errUnauthorized does not say which part of a key is wrong: that would help an attacker.
var errUnauthorized = errors.New("unauthorized")

const findKey = `SELECT k.secret_sha256, k.expires_at, k.revoked_at, u.id, u.username
	FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = $1`

// storedKey is an API key as the database has it. The zero value has no owner, and no secret matches it.
type storedKey struct {
	secretSHA256 []byte
	expiresAt    sql.NullInt64
	revokedAt    sql.NullInt64
	ownerID      string
	username     string
}

// IsAuthorized tells who a key belongs to. It remembers the answer until any key or user changes. A change by another
// process, for example a revocation, takes effect at most 100 ms later; a change by this server's own methods and the
// expiry of a key take effect at once. IsAuthorized does not keep the token itself.
//
// Every refusal is the same error and has no code. A failure of the database has the code 14, unavailable.
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
	// Every check is made, also after one has failed, so that the time of a refusal does not tell which one failed.
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

// presented returns the id and the secret in a request, and whether they have the form of a key. A delegated key has no
// secret.
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

// storedKey returns the key with that id, or one without an owner if there is none.
func (s *Server) storedKey(ctx context.Context, id string) (storedKey, error) {
	// The hash has the right length also for a key that does not exist, so that comparing takes as long.
	key := storedKey{secretSHA256: make([]byte, sha256.Size)}
	err := s.db.Reader.QueryRowContext(ctx, findKey, id).
		Scan(&key.secretSHA256, &key.expiresAt, &key.revokedAt, &key.ownerID, &key.username)
	if errors.Is(err, sql.ErrNoRows) {
		return key, nil
	}
	return key, err
}
