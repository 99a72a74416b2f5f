package rederive

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"net/url"
	"strings"
)

// hosted is what the path of a request to a cloud that serves Claude says: the model, and whether a stream is asked for.
type hosted struct {
	model  string
	stream bool
}

// hostedAt returns what a path says, and whether it is such a path.
func hostedAt(path string) (hosted, bool) {
	segments := strings.Split(path, "/")
	last := segments[len(segments)-1]
	var name string
	switch {
	case len(segments) == 4 && segments[1] == "model" && (last == "invoke" || last == "invoke-with-response-stream"):
		name = segments[2]
	case strings.HasSuffix(last, ":rawPredict"), strings.HasSuffix(last, ":streamRawPredict"):
		name = last[:strings.LastIndex(last, ":")]
	default:
		return hosted{}, false
	}
	model, err := url.PathUnescape(name)
	if err != nil {
		model = name
	}
	return hosted{model, strings.HasSuffix(path, "-stream") || strings.HasSuffix(path, ":streamRawPredict")}, true
}

// framed is the type of an answer that is a stream of frames.
const framed = "application/vnd.amazon.eventstream"

// frames returns the events of Bedrock's frames, and whether the frames go on beyond what there is or are damaged. After
// damage there are no more.
func frames(stream []byte) (found []event, isCut bool) {
	for len(stream) > 0 {
		if len(stream) < 16 {
			return found, true
		}
		size, headers := int(binary.BigEndian.Uint32(stream)), int(binary.BigEndian.Uint32(stream[4:]))
		if crc32.ChecksumIEEE(stream[:8]) != binary.BigEndian.Uint32(stream[8:]) || size > len(stream) || size < headers+16 {
			return found, true
		}
		frame := stream[:size]
		if crc32.ChecksumIEEE(frame[:size-4]) != binary.BigEndian.Uint32(frame[size-4:]) {
			return found, true
		}
		names, ok := frameHeaders(frame[12 : 12+headers])
		if !ok {
			return found, true
		}
		found = append(found, frameEvents(names, frame[12+headers:size-4])...)
		stream = stream[size:]
	}
	return found, false
}

// frameHeaders returns the headers that are strings, and whether all headers are valid.
func frameHeaders(text []byte) (map[string]string, bool) {
	lengths := map[byte]int{0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
	names := map[string]string{}
	for len(text) > 0 {
		n := int(text[0])
		if n == 0 || len(text) < n+2 {
			return nil, false
		}
		name, kind := string(text[1:n+1]), text[n+1]
		text = text[n+2:]
		length, known := lengths[kind]
		if kind == 6 || kind == 7 {
			if len(text) < 2 {
				return nil, false
			}
			length, known = int(binary.BigEndian.Uint16(text)), true
			text = text[2:]
		}
		if !known || len(text) < length {
			return nil, false
		}
		if _, isThere := names[name]; kind == 7 && !isThere {
			names[name] = string(text[:length])
		}
		text = text[length:]
	}
	return names, true
}

// frameEvents returns the event of a frame, if it has one. A chunk that cannot be read is an event without an object.
func frameEvents(names map[string]string, payload []byte) []event {
	exception, message := "", ""
	switch {
	case names[":message-type"] == "event" && names[":event-type"] == "chunk":
		var chunk struct {
			Bytes *[]byte `json:"bytes"`
		}
		if json.Unmarshal(payload, &chunk) != nil || chunk.Bytes == nil {
			return []event{{"", "unreadable"}}
		}
		return []event{{"", string(*chunk.Bytes)}}
	case names[":message-type"] == "exception":
		exception = names[":exception-type"]
		data := asObject(payload)
		for _, member := range []string{"message", "Message", "originalMessage"} {
			if message == "" {
				message = data.text(member)
			}
		}
	case names[":message-type"] == "error":
		exception, message = names[":error-code"], names[":error-message"]
	default:
		return nil
	}
	if message == "" {
		message = exception
	}
	if message == "" {
		message = "unknown error"
	}
	text, err := json.Marshal(map[string]any{"type": "error", "error": map[string]string{"type": errorOf(exception), "message": message}})
	if err != nil {
		return nil // Strings always marshal.
	}
	return []event{{"error", string(text)}}
}

// errorOf returns the type that the Messages API has for an exception of Bedrock's.
func errorOf(exception string) string {
	types := map[string]string{
		"throttling": "rate_limit_error", "modelnotready": "rate_limit_error", "servicequotaexceeded": "rate_limit_error", "toomanyrequests": "rate_limit_error",
		"validation": "invalid_request_error", "resourcenotfound": "not_found_error", "modeltimeout": "timeout_error", "serviceunavailable": "overloaded_error",
		"accessdenied": "permission_error", "unrecognizedclient": "permission_error", "expiredtoken": "permission_error", "invalidsignature": "permission_error",
	}
	if kind, ok := types[strings.TrimSuffix(strings.ToLower(exception), "exception")]; ok {
		return kind
	}
	return "api_error"
}
