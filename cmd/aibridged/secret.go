package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"
)

// maxSecret is how many bytes of a file with a secret are read.
const maxSecret = 64 << 10

var variable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// errNoReference is the error for a text in the place of a reference. It does not repeat it, since it may be a secret.
var errNoReference = errors.New("write ${NAME_OF_A_VARIABLE} or file:/path/to/a/file")

// isReference reports whether a text has the form of a reference to a secret.
func isReference(text string) bool {
	path, ok := strings.CutPrefix(text, "file:")
	return ok && path != "" || variable.MatchString(text)
}

// secretOf returns the secret that a reference stands for, as it is now. The argument kind is what errors call it.
func secretOf(reference, kind string) (string, error) {
	if match := variable.FindStringSubmatch(reference); match != nil {
		return trimSecret(os.Getenv(match[1]), kind, "environment variable "+match[1], ": set it, or name another")
	}
	path, ok := strings.CutPrefix(reference, "file:")
	if !ok {
		return "", errNoReference
	}
	text, err := readSecret(path, kind)
	if err != nil {
		return "", err
	}
	return trimSecret(text, kind, "file "+path, "")
}

// documentOf is secretOf for a secret of several lines.
func documentOf(reference, kind string) (string, error) {
	if path, ok := strings.CutPrefix(reference, "file:"); ok {
		return readSecret(path, kind)
	}
	if match := variable.FindStringSubmatch(reference); match != nil {
		return os.Getenv(match[1]), nil
	}
	return "", errNoReference
}

// readSecret returns what a file holds.
func readSecret(path, kind string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	switch {
	case err != nil:
		return "", err
	case len(data) > maxSecret:
		return "", fmt.Errorf("the file %s has more than %d bytes: it holds no %s", path, maxSecret, kind)
	}
	return string(data), nil
}

// trimSecret returns a secret without the blanks around it. Advice says what to do if there is none.
func trimSecret(text, kind, from, advice string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", fmt.Errorf("the %s is empty%s", from, advice)
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", fmt.Errorf("the %s has a line break or another control character within the %s", from, kind)
	}
	return text, nil
}
