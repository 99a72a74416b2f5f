package credential

import "strings"

// Query returns a query without the parameters that APIs read keys from, and without those that hold a token of the gateway. The
// rest stays as it is, byte for byte, also what cannot be decoded. Some servers read a semicolon as an ampersand, so what
// stands between two of either is judged as a parameter.
func Query(query string, tokens Tokens) string {
	kept, isWhole := make([]byte, 0, len(query)), true
	for rest := query; rest != ""; {
		end := strings.IndexAny(rest[1:], "&;") + 1
		if end == 0 {
			end = len(rest)
		}
		part := rest[:end]
		rest = rest[end:]
		if !goesOn(strings.TrimLeft(part, "&;"), tokens) {
			isWhole = false
			continue
		}
		kept = append(kept, part...)
	}
	if isWhole {
		return query
	}
	if len(kept) > 0 && (kept[0] == '&' || kept[0] == ';') && query[0] != kept[0] {
		kept = kept[1:]
	}
	return string(kept)
}

func goesOn(parameter string, tokens Tokens) bool {
	if tokens.In(parameter) {
		return false
	}
	name, _, _ := strings.Cut(parameter, "=")
	if strings.IndexByte(name, '%') >= 0 {
		name = unescape(name)
	}
	return !namesCredential(name)
}

// namesCredential reports whether a parameter of that name holds a key, by the names that APIs have for one.
func namesCredential(name string) bool {
	const longest = len("authorization") + 8 // With the hyphens and underscores that it may have.
	if len(name) > longest {
		return false
	}
	var plain [longest]byte
	n := 0
	for _, c := range []byte(name) {
		if c == '-' || c == '_' {
			continue
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		plain[n] = c
		n++
	}
	switch string(plain[:n]) {
	case "key", "apikey", "xapikey", "accesstoken", "token", "authorization":
		return true
	}
	return false
}
