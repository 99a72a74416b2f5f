package messages

import (
	"bytes"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// The times that a request can ask cache writes to be kept for, as a record has them.
const (
	hour  = "1h"
	mixed = "mixed" // Some for an hour, others for five minutes.
)

// CacheTTL returns for how long a request asks the upstream to keep what it writes to its cache: "1h", or "mixed" if that is not so
// for all. Empty: for five minutes, which is the default, or it asks for nothing. It looks at the whole body.
func CacheTTL(body jsonedit.Object) string {
	if !bytes.Contains(body.Bytes(), []byte(`"ttl"`)) {
		return ""
	}
	var short, long bool
	note := func(of gjson.Result) {
		switch mark := of.Get("cache_control"); {
		case !mark.IsObject():
		case mark.Get("ttl").Str == hour:
			long = true
		default:
			short = true
		}
	}
	if mark, ok := body.Get("cache_control"); ok && !bytes.Equal(mark, []byte("null")) {
		isHour := wire.View(mark).Get("ttl").Str == hour
		long, short = isHour, !isHour
	}
	for _, name := range [...]string{"tools", "system", "messages"} {
		elements := body.Elements(name)
		for i := range elements.Len() {
			if text := elements.At(i); bytes.Contains(text, []byte(`"cache_control"`)) {
				eachBlock(wire.View(text), contentLevels, note)
			}
		}
	}
	switch {
	case long && short:
		return mixed
	case long:
		return hour
	default:
		return ""
	}
}

// contentLevels is how deep blocks are within each other: a message has a content, and a tool result in it another one.
const contentLevels = 2

// eachBlock calls note with a block and with those in its content.
func eachBlock(of gjson.Result, levels int, note func(gjson.Result)) {
	note(of)
	if content := of.Get("content"); levels > 0 && content.IsArray() {
		content.ForEach(func(_, block gjson.Result) bool {
			eachBlock(block, levels-1, note)
			return true
		})
	}
}
