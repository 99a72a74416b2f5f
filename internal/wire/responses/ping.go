package responses

import (
	"strconv"

	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// ping returns the event that the API itself sends while it is silent, with the number of the event before it: some clients
// insist on a number, and the upstream's go on. https://github.com/openai/openai-node/issues/1964
func ping(after sse.Event) []byte {
	number := wire.View(after.Data).Get(sequenceNumber).Int()
	data := strconv.AppendInt([]byte(`event: keepalive`+"\n"+`data: {"type":"keepalive","`+sequenceNumber+`":`), number, 10)
	return append(data, "}\n\n"...)
}
