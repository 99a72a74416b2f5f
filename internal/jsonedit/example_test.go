package jsonedit_test

import (
	"errors"
	"fmt"

	"github.com/coder/aibridged/internal/jsonedit"
)

func Example() {
	body := []byte(`{"model": "m", "stream_options": {"obfuscation": false}, "seed": 12345678901234567890}`)
	object, err := jsonedit.Parse(body)
	if err != nil {
		panic(err)
	}
	model, _ := object.Get("model")
	name, _ := jsonedit.String(model)
	fmt.Println(name)

	value, _ := object.Get("stream_options")
	options, err := jsonedit.Parse(value)
	if err != nil {
		panic(err)
	}
	value, err = jsonedit.Splice(value, options.Set("include_usage", []byte("true")))
	if err != nil {
		panic(err)
	}
	body, err = jsonedit.Splice(body, object.Set("stream_options", value))
	fmt.Println(string(body), err)
	// Output:
	// m
	// {"model": "m", "stream_options": {"obfuscation": false,"include_usage":true}, "seed": 12345678901234567890} <nil>
}

func ExampleParse_duplicate() {
	_, err := jsonedit.Parse([]byte(`{"model":"small","Model":"large"}`))
	fmt.Println(errors.Is(err, jsonedit.ErrDuplicate), err)
	// Output:
	// true duplicate name in JSON object: "model" at byte 1 and "Model" at byte 17
}

func ExampleObject_Elements() {
	object, err := jsonedit.Parse([]byte(`{"messages":[{"role":"user"}, {"role":"assistant"}]}`))
	if err != nil {
		panic(err)
	}
	messages := object.Elements("messages")
	for i := range messages.Len() {
		fmt.Println(string(messages.At(i)))
	}
	// Output:
	// {"role":"user"}
	// {"role":"assistant"}
}
