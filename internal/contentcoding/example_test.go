package contentcoding_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"

	"github.com/coder/aibridged/internal/contentcoding"
)

func ExampleDecode() {
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	_, err := w.Write([]byte(`{"model":"m"}`))
	if err := errors.Join(err, w.Close()); err != nil {
		panic(err)
	}

	plain, err := contentcoding.Decode("gzip", body.Bytes(), 1<<20, nil)
	fmt.Printf("%s %v\n", plain, err)

	part, err := contentcoding.Decode("gzip", body.Bytes(), 8, nil)
	fmt.Printf("%s %v\n", part, err)
	// Output:
	// {"model":"m"} <nil>
	// {"model" decode gzip: decoded body too large
}
