// Package kept is the file of one upstream exchange: the request as the client sent it, and the answer as the upstream
// sent it, to the last byte. A gateway that keeps its exchanges writes such files while it relays; who doubts its
// records reads them afterwards.
//
//	exchange, err := kept.ReadFile(dir, interception, 0)
//	…
//	sum := sha256.Sum256(exchange.Request)
//
// A file is compressed with zstd and is, within that, a sequence of sections:
//
//	KIND LENGTH⏎ BYTES⏎
//
// with the length of the bytes in decimal. The first section is head, a JSON object, [Head]. Then come sections of kind
// request: the client's body, in pieces. Then, where the upstream answered, one of kind answer, [Answer], and its body
// in sections of kind response. The last is end, [End]. So `zstd -dc FILE` shows a person all there is.
//
// What goes into a file goes in order and is never changed: a file whose gateway was killed has the beginning. Until
// its end is there, a file has another name.
//
// It knows nothing of the formats of the bodies, and does not write by itself: [Encoder] makes the bytes to be written.
package kept

import (
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// ErrDamaged is what reading fails with where a file is not as it was written.
var ErrDamaged = errors.New("kept exchange is damaged")

// version is the version of the files that this package writes and reads.
const version = 1

// Head is what is known when an exchange begins.
type Head struct {
	Version      int       `json:"version"` // Set by [Encoder].
	Interception uuid.UUID `json:"interception_id"`
	Round        int       `json:"round"`
	Format       string    `json:"format"`
	At           time.Time `json:"at"`
	// Header is the client's, without the values of credentials.
	Header       http.Header `json:"header"`
	RequestBytes int64       `json:"request_bytes"`
}

// Answer is what is known when an upstream begins to answer.
type Answer struct {
	At     time.Time `json:"at"`
	Status int       `json:"status"`
	// Header is the upstream's, without the values of credentials.
	Header http.Header `json:"header"`
}

// Ending is how an exchange came to its end.
type Ending string

// The endings.
const (
	// Whole: the upstream ended its answer in good order, as far as its connection tells.
	Whole Ending = "whole"
	// Broken: the connection broke, was given up, or never brought an answer. [End.Failure] says more.
	Broken Ending = "broken"
	// Left: the gateway closed the answer before its end.
	Left Ending = "left"
)

// Cancelled says who had given up the request when its exchange ended.
type Cancelled string

// Who can give up a request. The empty one is nobody.
const (
	CancelledByClient  Cancelled = "client"
	CancelledByGateway Cancelled = "gateway"
)

// End is what is known when an exchange is over.
type End struct {
	At            time.Time `json:"at"`
	ResponseBytes int64     `json:"response_bytes"`
	Ending        Ending    `json:"ending"`
	Cancelled     Cancelled `json:"cancelled,omitempty"`
	// Failure is why the exchange broke, in words for a log, and FailureStatus the status that the gateway has for it:
	// 502, 504, or one from 400 where it was the client's own.
	Failure       string `json:"failure,omitempty"`
	FailureStatus int    `json:"failure_status,omitempty"`
}

// Exchange is what a file holds.
type Exchange struct {
	Head     Head
	Request  []byte  // In the client's content coding.
	Answer   *Answer // Nil: the upstream had not answered.
	Response []byte  // In the upstream's content coding.
	End      *End    // Nil: the gateway ended before the exchange did, or it goes on.
}
