package wire

import (
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// View reads JSON where it stands: requests and answers come by the hundred kilobytes, of which a few bytes are kept.
// The result, and all that is got from it, is good only as long as json is neither changed nor reused: what is kept
// beyond that is copied, see [Kept].
func View(json []byte) gjson.Result {
	return gjson.Parse(unsafe.String(unsafe.SliceData(json), len(json)))
}

// Kept returns a value that is a string as one of its own, or empty.
func Kept(value gjson.Result) string { return strings.Clone(String(value)) }
