package aibridge

import (
	"errors"
	"strings"
)

// judgePath refuses an escaped path if another server could read it as another path than the gateway does. A path that
// it accepts can be read in one way only: it has no empty, "." or ".." segments, no characters that only some servers
// treat as separators, and no escapes that hide any of these.
func judgePath(escaped string) error {
	if !strings.HasPrefix(escaped, "/") {
		return errors.New("it must begin with a slash")
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(escaped[1:], "/"), "/") {
		switch segment {
		case "":
			if escaped != "/" {
				return errors.New("it has an empty segment")
			}
		case ".", "..":
			return errors.New("it has a dot segment")
		}
		if strings.HasSuffix(segment, ".") {
			return errors.New("a segment ends in a dot")
		}
	}
	for i := 0; i < len(escaped); i++ {
		switch c := escaped[i]; {
		case c == ';' || c == '\\':
			return errors.New("it has a semicolon or a backslash")
		case c <= ' ' || c >= 0x7f:
			return errors.New("it has a character that must be escaped")
		case c == '%':
			if i+2 >= len(escaped) {
				return errors.New("it has an incomplete escape")
			}
			if err := judgeEscape(escaped[i+1 : i+3]); err != nil {
				return err
			}
		}
	}
	return nil
}

// judgeModelPath is judgePath for a path of which a part is the id of a model. The id may have escaped slashes between its
// parts, and end in dots. However another server reads it, it stays below the segments in front of it.
func judgeModelPath(escaped string, start, end int) error {
	id := strings.ReplaceAll(strings.ReplaceAll(escaped[start:end], "%2F", "/"), "%2f", "/")
	if trimmed := strings.TrimRight(id, "."); trimmed != "" && !strings.HasSuffix(trimmed, "/") {
		id = trimmed
	}
	return judgePath(escaped[:start] + id + escaped[end:])
}

// judgeEscape judges an escape by its two hexadecimal digits.
func judgeEscape(digits string) error {
	high, low := unhex(digits[0]), unhex(digits[1])
	if high < 0 || low < 0 {
		return errors.New("it has an invalid escape")
	}
	switch c := high<<4 | low; {
	case c < ' ', c == 0x7f:
		return errors.New("it has an escaped control character")
	case c == '.', c == '/', c == '\\', c == ';', c == '%':
		return errors.New("it has an escaped dot, slash, backslash, semicolon or percent sign")
	}
	return nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
