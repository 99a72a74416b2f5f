package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
)

// What the model reads in the place of a result that there is none of. It may make a call again that was not run, which would
// do twice what a call does that was.
const (
	NotRun        = "The call was not run." // It has certainly not begun.
	UnknownResult = "The call may have run; its result is not known."
)

// KeptTurn is what is kept of an answer in which the gateway's tools were called and which the client goes on with, since it
// has calls of the client's or thoughts.
type KeptTurn struct {
	Rounds []KeptRound `json:"rounds,omitempty"`
	// Checks tell, by the ids of the client's calls or by their keys, whether a call is the one that the answer had: some
	// servers give the same id to many calls.
	Checks map[string]string `json:"checks,omitempty"`
	// Said is what the client has seen of the texts, where only its place tells the turn: see [Said.Text].
	Said string `json:"said,omitempty"`
	// Shared says that another turn with other texts was kept at that place: see [SharedTurn].
	Shared bool `json:"shared,omitempty"`
	// Last is the id of the last round's answer, where that one stands for the id that the client knows.
	Last string `json:"last,omitempty"`
	// Open are the ids of the gateway's calls in the last round: a provider that stores the answer insists on their results.
	Open []string `json:"open,omitempty"`
	// Shown are members of an answer as the client got them, where the last round's answer, which the provider shows in its
	// place, has others.
	Shown map[string][]byte `json:"shown,omitempty"`
}

// KeptRound is what is kept of one round. JSON is kept as bytes: encoded as JSON, it would not stay as it came.
type KeptRound struct {
	// Seen is how many parts of the round's turn the client has seen, of those that the format counts.
	Seen    int        `json:"seen"`
	Calls   []KeptCall `json:"calls,omitempty"`
	Results [][]byte   `json:"results,omitempty"` // As the format writes them.
	// Around is what stands around the calls, where the format has that, and Said what the client has seen of the round, where it
	// is one with what it has seen of others.
	Around []byte `json:"around,omitempty"`
	Said   []byte `json:"said,omitempty"`
}

// KeptCall is a call of one of the gateway's tools, as the model made it.
type KeptCall struct {
	At   int    `json:"at"` // How many of the parts that the client has seen stand before it, within its round.
	Call []byte `json:"call"`
}

// SaysOther reports whether a message has other texts than the turn, so that it may belong to another conversation. One whose client
// leaves them out is the turn's, unless there was another turn at that place.
func (k KeptTurn) SaysOther(said *Said) bool {
	text := said.Text()
	return text != k.Said && (text != "" || k.Shared)
}

// SharedTurn returns a turn that is kept in the place of another one, with a note of that if they have other texts.
func SharedTurn(encoded, other []byte) []byte {
	turn, ok := DecodeTurn(encoded)
	before, known := DecodeTurn(other)
	if !ok || !known || len(before.Rounds) == 0 || before.Said == turn.Said && !before.Shared {
		return encoded
	}
	turn.Shared = true
	return turn.Encode()
}

// Encode returns the turn as [DecodeTurn] takes it.
func (k KeptTurn) Encode() []byte {
	encoded, err := json.Marshal(k)
	if err != nil {
		return nil // A call that is no JSON: then there is nothing to put back.
	}
	return encoded
}

// DecodeTurn returns a turn that was kept. It reports false for anything else, and for a turn with a call or a result that is
// no JSON.
func DecodeTurn(encoded []byte) (KeptTurn, bool) {
	var turn KeptTurn
	if json.Unmarshal(encoded, &turn) != nil {
		return KeptTurn{}, false
	}
	for _, round := range turn.Rounds {
		for _, call := range round.Calls {
			if !IsSound(call.Call) {
				return KeptTurn{}, false
			}
		}
		for _, result := range round.Results {
			if !IsSound(result) {
				return KeptTurn{}, false
			}
		}
		for _, part := range [][]byte{round.Around, round.Said} {
			if len(part) > 0 && !IsSound(part) {
				return KeptTurn{}, false
			}
		}
	}
	for _, member := range turn.Shown {
		if !IsSound(member) {
			return KeptTurn{}, false
		}
	}
	return turn, true
}

// WithoutRounds returns a turn that was kept without its calls and results, which can be large: it still says which answer
// an id stands for, what the client got of it, and which calls of it have no result.
func WithoutRounds(encoded []byte) []byte {
	turn, _ := DecodeTurn(encoded)
	return KeptTurn{Last: turn.Last, Open: turn.Open, Shown: turn.Shown}.Encode()
}

// CallCheck returns a text that is the same for the same call, also after a client has written its input anew.
func CallCheck(name, input string) string {
	var value any
	if json.Unmarshal([]byte(input), &value) == nil {
		if plain, err := json.Marshal(value); err == nil {
			input = string(plain)
		}
	}
	sum := sha256.Sum256([]byte(name + "\x00" + input))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
