package jsonedit

import "fmt"

// scanner reads JSON text once, from its beginning to its end, and checks it. It never recurses.
type scanner struct {
	body []byte
	pos  int
	// closing holds the closing byte of each object and array that is open around a value.
	closing [MaxDepth]byte
}

// value reads one value, with optional white space before it, inside depth objects and arrays.
func (s *scanner) value(depth int) error {
	for open := depth; ; {
		c := s.next()
		switch {
		case c == '"':
			if err := s.text(); err != nil {
				return err
			}
		case c == '{' || c == '[':
			if open == MaxDepth {
				return depthError(s.pos)
			}
			s.pos++
			closing := c + 2 // True of both brackets in ASCII.
			if s.next() != closing {
				if err := s.nameIn(closing); err != nil {
					return err
				}
				s.closing[open] = closing
				open++
				continue
			}
			s.pos++
		default:
			if err := s.scalar(c); err != nil {
				return err
			}
		}
		// A value has ended, and it may end the objects and arrays around it.
		for more := false; !more; {
			if open == depth {
				return nil
			}
			closing := s.closing[open-1]
			var err error
			if more, err = s.separator(closing); err != nil {
				return err
			}
			if !more {
				open--
			} else if err := s.nameIn(closing); err != nil {
				return err
			}
		}
	}
}

// next skips white space and returns the byte after it without consuming it, or 0 at the end.
func (s *scanner) next() byte {
	for i := s.pos; i < len(s.body); i++ {
		if c := s.body[i]; c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			s.pos = i
			return c
		}
	}
	s.pos = len(s.body)
	return 0
}

// separator reads what follows a value within an object or array: a comma, which means more, or the closing byte.
func (s *scanner) separator(closing byte) (more bool, err error) {
	switch s.next() {
	case ',':
		s.pos++
		return true, nil
	case closing:
		s.pos++
		return false, nil
	}
	return false, s.invalid("a comma or " + string(closing))
}

// nameIn reads a member's name and its colon, if closing is that of an object.
func (s *scanner) nameIn(closing byte) error {
	if closing != '}' {
		return nil
	}
	if err := s.name(); err != nil {
		return err
	}
	return s.colon()
}

// name reads a member's name, with optional white space before it.
func (s *scanner) name() error {
	if s.next() != '"' {
		return s.invalid("a name in quotes")
	}
	return s.text()
}

func (s *scanner) colon() error {
	if s.next() != ':' {
		return s.invalid("a colon")
	}
	s.pos++
	return nil
}

// text reads a string, with the scanner at its opening quote.
func (s *scanner) text() error {
	end, fault := textEnd(s.body, s.pos+1)
	s.pos = end
	if fault != "" {
		return s.invalid(fault)
	}
	return nil
}

// scalar reads a number or a literal whose first byte is c.
func (s *scanner) scalar(c byte) error {
	switch {
	case c == '-' || '0' <= c && c <= '9':
		end, ok := numberEnd(s.body, s.pos)
		s.pos = end
		if !ok {
			return s.invalid("a digit")
		}
		return nil
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.invalid("a value")
}

func (s *scanner) literal(word string) error {
	if rest := s.body[s.pos:]; len(rest) < len(word) || string(rest[:len(word)]) != word {
		return s.invalid(word)
	}
	s.pos += len(word)
	return nil
}

// end checks that nothing but white space is left.
func (s *scanner) end() error {
	if s.next(); s.pos < len(s.body) {
		return s.invalid("nothing more")
	}
	return nil
}

// invalid returns an [ErrInvalid] that says what was expected at the scanner's position.
func (s *scanner) invalid(expected string) error {
	if s.pos >= len(s.body) {
		return fmt.Errorf("%w: it ends at byte %d, expected %s", ErrInvalid, len(s.body), expected)
	}
	return fmt.Errorf("%w: %q at byte %d, expected %s", ErrInvalid, s.body[s.pos:s.pos+1], s.pos, expected)
}

// numberEnd returns the end of the number that begins at offset i of body, or the offset at which a digit is missing.
func numberEnd(body []byte, i int) (end int, ok bool) {
	if body[i] == '-' {
		i++
	}
	if i < len(body) && body[i] == '0' {
		i++
	} else if i, ok = digitsEnd(body, i); !ok {
		return i, false
	}
	if i < len(body) && body[i] == '.' {
		if i, ok = digitsEnd(body, i+1); !ok {
			return i, false
		}
	}
	if i < len(body) && body[i]|0x20 == 'e' {
		i++
		if i < len(body) && (body[i] == '+' || body[i] == '-') {
			i++
		}
		return digitsEnd(body, i)
	}
	return i, true
}

// digitsEnd returns the end of the digits at offset i of body; there must be one.
func digitsEnd(body []byte, i int) (end int, ok bool) {
	start := i
	for i < len(body) && '0' <= body[i] && body[i] <= '9' {
		i++
	}
	return i, i > start
}
