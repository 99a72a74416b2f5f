package wiretest

import (
	"errors"
	"net/http"
	"reflect"
	"testing"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// testRequests tests the parts of a request that all formats read.
func testRequests(t *testing.T, suite Suite) {
	refused := map[string]string{
		"no model":        `{`,
		"empty model":     `{"model":"",`,
		"model no string": `{"model":["m"],`,
		"model null":      `{"model":null,`,
		"stream a string": `{"model":"m","stream":"true",`,
		"stream a number": `{"model":"m","stream":1,`,
		"stream an array": `{"model":"m","stream":[],`,
	}
	for name, body := range refused {
		t.Run(name, func(t *testing.T) { testRefused(t, suite.Format, body+suite.Conversation+"}") })
	}

	read := map[string]struct {
		body string
		want wire.Request
	}{
		"least":           {`{"model":"m",`, wire.Request{}},
		"stream false":    {`{"model":"m","stream":false,`, wire.Request{}},
		"stream null":     {`{"model":"m","stream":null,`, wire.Request{}},
		"stream":          {`{"model":"m","stream":true,`, wire.Request{Stream: true}},
		"escapes":         {`{"mod\u0065l":"\u006d",`, wire.Request{}},
		"unknown members": {`{"x":{"model":"other"},"model":"m","Temperature":[1e400],`, wire.Request{}},
		"session": {
			`{"model":"m","metadata":{"user_id":"{\"session_id\":\"s\"}","x":1},"prompt_cache_key":"k",`,
			wire.Request{UserID: `{"session_id":"s"}`, CacheKey: "k"},
		},
		"session of other types": {`{"model":"m","metadata":{"user_id":{"a":1}},"prompt_cache_key":7,`, wire.Request{}},
		"metadata null":          {`{"model":"m","metadata":null,`, wire.Request{}},
	}
	for name, test := range read {
		t.Run(name, func(t *testing.T) {
			got := inspect(t, suite.Format, []byte(test.body+suite.Conversation+"}"))
			test.want.Model = "m"
			sameHead(t, got, test.want)
		})
	}
}

// sameHead compares the parts that all formats read alike.
func sameHead(t *testing.T, got, want wire.Request) {
	t.Helper()
	head := wire.Request{Model: got.Model, Stream: got.Stream, UserID: got.UserID, CacheKey: got.CacheKey}
	if !reflect.DeepEqual(head, want) {
		t.Errorf("got %+v, want %+v", head, want)
	}
}

// testRefused has the format inspect a body that it must refuse.
func testRefused(t *testing.T, format wire.Format, body string) {
	t.Helper()
	object, err := jsonedit.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	request, err := format.Inspect(object)
	refusal, ok := errors.AsType[*apierror.Error](err)
	if !ok || refusal.Status != http.StatusBadRequest || refusal.Text == "" {
		t.Errorf("got error %v, want one of status 400", err)
	}
	if !reflect.DeepEqual(request, wire.Request{}) {
		t.Errorf("got %+v beside an error", request)
	}
}

// RequestCase is one request and what the format must read of it.
type RequestCase struct {
	Name string
	Body string
	// Want is compared without Edits and Withhold. A nil Prompt and an empty one are different.
	Want wire.Request
	// Refused says that the format refuses the request with status 400.
	Refused bool
}

// Requests runs the cases.
func Requests(t *testing.T, format wire.Format, cases []RequestCase) {
	for _, test := range cases {
		t.Run(test.Name, func(t *testing.T) {
			if test.Refused {
				testRefused(t, format, test.Body)
				return
			}
			got := inspect(t, format, []byte(test.Body))
			got.Edits, got.Withhold = nil, nil
			if !reflect.DeepEqual(got, test.Want) {
				t.Errorf("got\n%#v\nwant\n%#v", got, test.Want)
			}
		})
	}
}
