// Package kept reads and encodes the file of one upstream exchange: the request as the client sent it, and the answer
// as the upstream sent it, to the last byte. A gateway that keeps its exchanges writes such files while it relays;
// `verify` compares the records with them afterwards.
//
//	exchange, err := kept.ReadFile(dir, interception, 0)
//	…
//	sum := sha256.Sum256(exchange.Request)
//
// A file is compressed with zstd. Its content is a sequence of sections:
//
//	KIND LENGTH⏎ BYTES⏎
//
// with the length of the bytes in decimal. The first section is head, a JSON object, [Head]. Sections of kind request
// follow, with the client's body in pieces. If the upstream answered, one section of kind answer follows, [Answer], and
// then the answer's body in sections of kind response. The last section is end, [End]. So `zstd -dc FILE` shows a
// person everything.
//
// Sections are written in order and never changed: when a gateway was killed, its file has the beginning of the
// exchange. A file has another name until its end is written.
//
// The package does not know the formats of the bodies, and writes no file: [Encoder] makes the bytes to be written.
package kept

import (
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// ErrDamaged means that a file is not as it was written.
var ErrDamaged = errors.New("kept exchange is damaged")

// version is the version of the files that this package writes and reads.
const version = 1

// Head is what is known when an exchange begins.
type Head struct {
	Version      int       `json:"version"` // Set by [Encoder].
	Interception uuid.UUID `json:"interception_id"`
	Round        int       `json:"round"`
	Format       string    `json:"format"`
	Path         string    `json:"path,omitempty"` // The client's, escaped, below the provider's name. Older files have none.
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

// Ending is the way in which an exchange ended.
type Ending string

// The endings.
const (
	// Whole: the upstream ended its answer in good order, as far as its connection shows.
	Whole Ending = "whole"
	// Broken: the connection broke, was cancelled, or never brought an answer. [End.Failure] says more.
	Broken Ending = "broken"
	// Left: the gateway closed the answer before its end.
	Left Ending = "left"
)

// Cancelled says who had cancelled the request when its exchange ended.
type Cancelled string

// Who can cancel a request. Empty means that nobody did.
const (
	CancelledByClient  Cancelled = "client"
	CancelledByGateway Cancelled = "gateway"
)

// End is what is known when an exchange has ended.
type End struct {
	At            time.Time `json:"at"`
	ResponseBytes int64     `json:"response_bytes"`
	Ending        Ending    `json:"ending"`
	Cancelled     Cancelled `json:"cancelled,omitempty"`
	// Failure says, in words for a log, why the exchange broke. FailureStatus is the status that the gateway answers
	// with for it: 502, 504, or one from 400 where the client caused the failure.
	Failure       string `json:"failure,omitempty"`
	FailureStatus int    `json:"failure_status,omitempty"`
}

// Exchange is the content of a file.
type Exchange struct {
	Head     Head
	Request  []byte  // In the client's content coding.
	Answer   *Answer // Nil: the upstream had not answered.
	Response []byte  // In the upstream's content coding.
	End      *End    // Nil: the exchange goes on, or the gateway ended before it did.
}
