package aibridgedserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/coder/aibridged/proto"
)

// A token is an id and a secret, joined by a dash. The id is public: records and listings show it. The database holds
// only the SHA-256 of the secret. The secret is random and so long that a slow hash would not protect it better.
const (
	tokenIDLen     = 10
	tokenSecretMin = 22
	tokenMax       = 1024
	usernameMax    = 255
)

const listKeys = `SELECT k.id, k.user_id, u.username, k.created_at, k.expires_at, k.revoked_at, k.admin
	FROM api_keys k JOIN users u ON u.id = k.user_id`

// ErrUnknownToken is what [Server.RevokeToken] returns for an id that no token has.
var ErrUnknownToken = errors.New("no token has this id")

// ErrNotSignedIn is the error for a token that is not valid. It does not say why.
var ErrNotSignedIn = errors.New("this token is not valid")

// TokenParams are what a token is made from.
type TokenParams struct {
	// Username names the token's owner. A user of that name is made if there is none yet.
	Username string
	// Expires is how long the token lasts. Zero: until it is revoked.
	Expires time.Duration
	// Admin says that who signs in with the token sees what others did. It changes nothing for clients.
	Admin bool
}

// APIKey describes a token without its secret.
type APIKey struct {
	ID        string     `json:"id"`
	UserID    string     `json:"user_id"` // UUID.
	Username  string     `json:"username"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"` // Nil: never.
	RevokedAt *time.Time `json:"revoked_at"` // Nil: not revoked.
	Admin     bool       `json:"admin"`
}

// CreateToken makes a token and returns it. The token cannot be read again later: only a hash of its secret is stored.
func (s *Server) CreateToken(ctx context.Context, params TokenParams) (token string, key APIKey, err error) {
	if err := checkUsername(params.Username); err != nil {
		return "", APIKey{}, err
	}
	if params.Expires < 0 {
		return "", APIKey{}, fmt.Errorf("token cannot expire %v ago", -params.Expires)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	key = APIKey{ID: rand.Text()[:tokenIDLen], Username: params.Username, CreatedAt: now, Admin: params.Admin}
	if params.Expires > 0 {
		expires := now.Add(params.Expires).Truncate(time.Microsecond)
		key.ExpiresAt = &expires
	}
	secret := rand.Text()
	key.UserID, err = s.insertKey(ctx, key, sha256.Sum256([]byte(secret)))
	if err != nil {
		return "", APIKey{}, fmt.Errorf("create token for %q: %w", params.Username, err)
	}
	return key.ID + "-" + secret, key, nil
}

// insertKey stores a key, and its owner if there is none of that name. It returns the owner's id.
func (s *Server) insertKey(ctx context.Context, key APIKey, secretSHA256 [sha256.Size]byte) (userID string, err error) {
	created := key.CreatedAt.UnixMicro()
	var expires any
	if key.ExpiresAt != nil {
		expires = key.ExpiresAt.UnixMicro()
	}
	insert := func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO users (id, username, created_at) VALUES ($1, $2, $3)
			ON CONFLICT DO NOTHING`, uuid.NewString(), key.Username, created)
		if err != nil {
			return err
		}
		err = tx.QueryRowContext(ctx, `SELECT id FROM users WHERE username = $1`, key.Username).Scan(&userID)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO api_keys (id, user_id, secret_sha256, created_at, expires_at, admin)
			VALUES ($1, $2, $3, $4, $5, $6)`, key.ID, userID, secretSHA256[:], created, expires, key.Admin)
		return err
	}
	err = s.db.write(ctx, s.db.Writer, insert)
	return userID, err
}

// Tokens returns all tokens, the oldest first, including those that are expired or revoked.
func (s *Server) Tokens(ctx context.Context) ([]APIKey, error) {
	keys, err := s.listKeys(ctx, listKeys+` ORDER BY k.created_at, k.id`)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return keys, nil
}

func (s *Server) listKeys(ctx context.Context, query string, args ...any) ([]APIKey, error) {
	keys := []APIKey{}
	err := each(ctx, s.db.Reader, query, args, func(rows *sql.Rows) error {
		var key APIKey
		var expires, revoked sql.NullInt64
		err := rows.Scan(&key.ID, &key.UserID, &key.Username, (*instant)(&key.CreatedAt), &expires, &revoked, &key.Admin)
		key.ExpiresAt, key.RevokedAt = timeOrNil(expires), timeOrNil(revoked)
		keys = append(keys, key)
		return err
	})
	return keys, err
}

// SignIn returns the key of a token that a person presents. For a token that is not valid, also one that has expired or is
// revoked, the error is [ErrNotSignedIn].
func (s *Server) SignIn(ctx context.Context, token string) (APIKey, error) {
	id, _, ok := splitToken(token)
	if !ok {
		return APIKey{}, ErrNotSignedIn
	}
	if _, err := s.IsAuthorized(ctx, &proto.IsAuthorizedRequest{Key: token}); errors.Is(err, errUnauthorized) {
		return APIKey{}, ErrNotSignedIn
	} else if err != nil {
		return APIKey{}, err
	}
	return s.SignedIn(ctx, id)
}

// SignedIn returns the key of a person who has signed in before with the token of that id, unless the token is no longer
// valid: then the error is [ErrNotSignedIn].
func (s *Server) SignedIn(ctx context.Context, id string) (APIKey, error) {
	keys, err := s.listKeys(ctx, listKeys+` WHERE k.id = $1`, id)
	if err != nil {
		return APIKey{}, fmt.Errorf("look up key: %w", err)
	}
	if len(keys) == 0 || keys[0].RevokedAt != nil || keys[0].ExpiresAt != nil && !time.Now().Before(*keys[0].ExpiresAt) {
		return APIKey{}, ErrNotSignedIn
	}
	return keys[0], nil
}

// RevokeToken revokes the token with that id. This server refuses it once RevokeToken returns, other servers on the
// same database at most 100 ms later. Revoking it again changes nothing. For an id that no token has, the error is
// [ErrUnknownToken].
func (s *Server) RevokeToken(ctx context.Context, id string) error {
	if !isTokenID(id) {
		// The error does not repeat it: it may be a whole token, with its secret.
		return fmt.Errorf("%w: an id is the %d characters before a token's dash", ErrUnknownToken, tokenIDLen)
	}
	var known int64
	err := s.db.write(ctx, s.db.Writer, func(tx *sql.Tx) (err error) {
		known, err = affected(tx.ExecContext(ctx,
			`UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2`, time.Now().UnixMicro(), id))
		return err
	})
	s.known.forgetAll()
	if err != nil {
		return fmt.Errorf("revoke token %q: %w", id, err)
	}
	if known == 0 {
		return fmt.Errorf("revoke token %q: %w", id, ErrUnknownToken)
	}
	return nil
}

// splitToken returns the two parts of a token, and whether it has the form of one.
func splitToken(token string) (id, secret string, ok bool) {
	if len(token) > tokenMax {
		return "", "", false
	}
	id, secret, _ = strings.Cut(token, "-")
	return id, secret, isTokenID(id) && len(secret) >= tokenSecretMin && isBase62(secret)
}

func isTokenID(id string) bool { return len(id) == tokenIDLen && isBase62(id) }

func isBase62(text string) bool {
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// checkUsername refuses names that a reader cannot tell from others, for example with blanks at an end, and those that
// are empty or too long.
func checkUsername(name string) error {
	switch {
	case name == "":
		return errors.New("username is empty")
	case len(name) > usernameMax:
		return fmt.Errorf("username is longer than %d bytes", usernameMax)
	case !utf8.ValidString(name), strings.TrimSpace(name) != name, strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("username begins or ends with a blank, or holds control characters or invalid UTF-8")
	default:
		return nil
	}
}
