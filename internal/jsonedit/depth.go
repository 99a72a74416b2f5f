package jsonedit

import "bytes"

// CheckDepth returns an error that wraps [ErrDepth] if data is nested deeper than [MaxDepth]. It is for bytes that a
// parser which recurses will read: it looks at strings and brackets only and checks nothing else. Brackets that do not
// match are counted to the worse: of each kind, those that are open.
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

// stringEnd returns how many bytes it is up to and with the quote that ends the string in which data begins, or the
// length of data if there is none.
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
