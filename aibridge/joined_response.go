package aibridge

import (
	"context"
	"net/url"
	"strings"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/wire"
)

// responseID is the segment of a route's path that names a stored response.
const responseID = "{response_id}"

// lastRoundsPath returns the path of a request that names a stored response, with the last round's response in the place of
// the first: the client knows the first one's id alone, which does not have the end of the answer.
func (b *RequestBridge) lastRoundsPath(ctx context.Context, to destination, initiatorID string) string {
	before, after, ok := strings.Cut(to.route.path, responseID)
	if !ok || b.conversations == nil {
		return to.path
	}
	escaped, _, _ := strings.Cut(strings.TrimPrefix(to.path, before), "/")
	id, err := url.PathUnescape(escaped)
	if err != nil || before+escaped+after != to.path {
		return to.path
	}
	key := "response:" + id
	kept, err := b.conversations.find(ctx, 0, initiatorID, []string{key})
	if err != nil {
		b.options.Logger.Warn(ctx, "it could not be looked up which response an id stands for", slog.F("initiator_id", initiatorID), slog.Error(err))
	}
	turn, ok := wire.DecodeTurn(kept[key])
	if !ok || turn.Last == "" {
		return to.path
	}
	return before + url.PathEscape(turn.Last) + after
}
