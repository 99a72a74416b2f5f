package aibridge

import (
	"net/http"
	"net/textproto"
	"strings"
)

// copyAnswerHeader adds the header of an answer to the client's, without the fields that are only for the hop to the
// upstream or that the host of the gateway has decided, and announces the trailers that the upstream announced.
func copyAnswerHeader(client http.Header, answer *http.Response) {
	for _, value := range answer.Header["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			answer.Header.Del(textproto.TrimString(name))
		}
	}
	withoutOriginsOfUpstream(client, answer.Header)
	for name, values := range answer.Header {
		switch name {
		case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
			"Transfer-Encoding", "Upgrade": // RFC 9110, section 7.6.1.
		default:
			if before := client[name]; len(before) > 0 {
				values = append(before, values...)
			}
			client[name] = values
		}
	}
	withoutSniffing(client)
	for name := range answer.Trailer {
		client.Add("Trailer", name)
	}
}

// withoutOriginsOfUpstream removes what an upstream says to browsers about origins if the host has already said it: a
// browser refuses an answer that says it twice.
func withoutOriginsOfUpstream(client, answer http.Header) {
	if len(client["Access-Control-Allow-Origin"]) == 0 {
		return
	}
	for name := range answer {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(answer, name)
		}
	}
}

// withoutSniffing keeps net/http from guessing the Content-Type of an answer that has none.
func withoutSniffing(client http.Header) {
	if _, ok := client["Content-Type"]; !ok {
		client["Content-Type"] = nil
	}
}

// copyTrailer adds the trailers of an answer that has come to its end. Trailers that were not announced get
// [http.TrailerPrefix], so that net/http sends them too.
func copyTrailer(client http.Header, answer *http.Response) {
	if len(answer.Trailer) == 0 {
		return
	}
	announced := client["Trailer"]
	for name, values := range answer.Trailer {
		if !contains(announced, name) {
			name = http.TrailerPrefix + name
		}
		client[name] = append(client[name], values...)
	}
}

func contains(names []string, name string) bool {
	for _, candidate := range names {
		if strings.EqualFold(candidate, name) {
			return true
		}
	}
	return false
}

// withoutDigests takes what says which bytes a body has out of the header of one that has others.
func withoutDigests(header http.Header) {
	for _, name := range [...]string{"Etag", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		header.Del(name)
	}
}
