package jsonedit

import "bytes"

// CheckDepth returns an error that wraps [ErrDepth] if data is nested deeper than [MaxDepth]. Call it before a
// recursive parser reads data. It looks at strings and brackets only and checks nothing else. It counts curly and
// square brackets separately, so that a closing bracket of one kind never closes one of the other.
func CheckDepth(data []byte) error {
	var objects, arrays int
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i += stringEnd(data[i+1:])
		case '{':
			objects++
		case '[':
			arrays++
		case '}':
			objects = max(objects-1, 0)
		case ']':
			arrays = max(arrays-1, 0)
		}
		if objects+arrays > MaxDepth {
			return depthError(i)
		}
	}
	return nil
}

// stringEnd returns the length of the rest of a string at the beginning of data, including its closing quote, or the
// length of data if no quote closes the string.
func stringEnd(data []byte) int {
	end := 0
	for {
		quote := bytes.IndexByte(data[end:], '"')
		if quote < 0 {
			return len(data)
		}
		end += quote + 1
		slash := end - 1
		for slash > 0 && data[slash-1] == '\\' {
			slash--
		}
		if (end-1-slash)%2 == 0 {
			return end
		}
	}
}
