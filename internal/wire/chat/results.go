package chat

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// appendResult appends the message with a call's result. Id is the call's, in quotes. The message can have text only: images
// are appended to the parts of a user message, which follows the results.
func appendResult(dst, images, id []byte, result wire.Result) (message, parts []byte) {
	var texts []string
	hasImage := false
	for _, part := range result.Parts {
		if part.MediaType == "" {
			texts = append(texts, part.Text)
			continue
		}
		if !hasImage {
			text := "Images of the result of the call " + gjson.ParseBytes(id).Str + ":"
			images = append(gjson.AppendJSONString(append(comma(images, len(images)), `{"type":"text","text":`...), text), '}')
		}
		hasImage = true
		url := "data:" + part.MediaType + ";base64," + base64.StdEncoding.EncodeToString(part.Data)
		images = append(gjson.AppendJSONString(append(images, `,{"type":"image_url","image_url":{"url":`...), url), `}}`...)
	}
	text := strings.Join(texts, "\n")
	if text == "" && hasImage {
		text = "The result is the images in the next message of the user."
	}
	if result.IsError && !strings.HasPrefix(strings.ToLower(text), "error") {
		text = "Error: " + text
	}
	dst = append(append(dst, `{"role":"tool","tool_call_id":`...), id...)
	return append(gjson.AppendJSONString(append(dst, `,"content":`...), text), '}'), images
}

// keep keeps the round's calls of the gateway's tools, and their results.
func (j *joint) keep(results []wire.Result) error {
	if err := j.data.Err(); err != nil {
		return err
	}
	var round wire.KeptRound
	var images []byte
	size := 0
	for _, of := range j.turn.calls {
		if !j.joined.IsOurs(of.Name) {
			round.Seen++
			continue
		}
		n := len(round.Calls)
		id := of.callID(j.round, n)
		var result wire.Result
		if n < len(results) {
			result = results[n]
		}
		var message []byte
		message, images = appendResult(nil, images, id, result)
		call := of.append(nil, id)
		round.Calls = append(round.Calls, wire.KeptCall{At: round.Seen, Call: call})
		round.Results = append(round.Results, message)
		size += len(call) + len(message)
	}
	if images != nil {
		message := append(append([]byte(`{"role":"user","content":[`), images...), `]}`...)
		round.Results = append(round.Results, json.RawMessage(message))
		size += len(message)
	}
	if round.Seen == 0 {
		round.Around, round.Said = j.turn.around(), j.turn.said()
		size += len(round.Around) + len(round.Said)
	}
	if j.joined.Memory.Take(int64(size)) != nil {
		return wire.ErrTurnTooLarge
	}
	j.kept.Rounds = append(j.kept.Rounds, round)
	return nil
}

func (j *joint) Kept() []wire.ToKeep {
	if len(j.order) == 0 {
		return nil
	}
	at := beginning(j.joined.Body)
	at.Index = j.joined.Body.Elements("messages").Len()
	var kept wire.ToKeep
	turn := wire.KeptTurn{Rounds: j.kept.Rounds, Checks: map[string]string{}}
	said := sync.OnceValue(j.saidInAll)
	for _, of := range j.order {
		key := keptKey(of.ID, of.Name, at)
		if of.whose != theirs || key == "" || turn.Checks[key] != "" {
			continue
		}
		if strings.HasSuffix(key, wire.PlaceMark) {
			turn.Said = said().Text()
		}
		kept.Keys = wire.AppendKeys(kept.Keys, key, said)
		turn.Checks[key] = callCheck(of.Name, of.Input.String())
	}
	switch {
	case kept.Keys == nil:
		return nil
	case slices.ContainsFunc(turn.Rounds, hasCalls):
		kept.Turn = turn.Encode()
	}
	return []wire.ToKeep{kept}
}

// saidInAll returns what the client has seen of all rounds. Of a round that was too large to be kept, that is its calls.
func (j *joint) saidInAll() *wire.Said {
	said := j.shownBefore.Clone()
	turn := j.turn
	if !j.ours && j.data.Err() == nil {
		turn = readTurn(j.form, j.data.All())
	}
	turn.addTo(said)
	for _, of := range j.order {
		if of.whose == theirs {
			said.AddCall(of.Name, of.Input.String())
		}
	}
	return said
}

// addTo adds the texts of a turn.
func (t *turn) addTo(said *wire.Said) {
	if content := t.message.byName["content"]; content != nil {
		addContent(said, gjson.ParseBytes(content.append(nil)))
	}
}
