// Package docs_test checks what the pages say against the code: the Go code of the pages stands in examples that compile,
// their links lead somewhere, and what they name exists.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the checkout, seen from here.
const root = ".."

// A page is a file in Markdown.
type page struct {
	path string // below the checkout
	text string
}

// pages returns the README and the pages of docs.
func pages(t *testing.T) []page {
	t.Helper()
	list := []page{read(t, "README.md")}
	for _, path := range find(t, "docs", func(path string) bool { return strings.HasSuffix(path, ".md") }) {
		list = append(list, read(t, path))
	}
	if len(list) < 7 {
		t.Fatalf("%d pages", len(list))
	}
	return list
}

func read(t *testing.T, path string) page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return page{path, string(text)}
}

// find returns the files below a directory of the checkout, all but those of testdata and of hidden directories.
func find(t *testing.T, dir string, want func(path string) bool) (found []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		path, _ = filepath.Rel(root, path)
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "testdata" || len(name) > 2 && name[0] == '.'):
			return filepath.SkipDir
		case !d.IsDir() && want(path):
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A block is fenced code.
type block struct{ language, code string }

var fenced = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func (p page) blocks() (list []block) {
	for _, m := range fenced.FindAllStringSubmatch(p.text, -1) {
		list = append(list, block{m[1], m[2]})
	}
	return list
}

// prose is the text without fenced code.
func (p page) prose() string { return fenced.ReplaceAllString(p.text, "") }

var span = regexp.MustCompile("`([^`]+)`")

// spans returns the code within a text; it may go on in the next line.
func spans(text string) (list []string) {
	for _, m := range span.FindAllStringSubmatch(text, -1) {
		list = append(list, strings.Join(strings.Fields(m[1]), " "))
	}
	return list
}

// commands returns what a reader is told to type: the lines of the shell blocks, and the code within the text.
func (p page) commands() (list []string) {
	for _, b := range p.blocks() {
		if b.language == "sh" {
			for line := range strings.Lines(b.code) {
				line, _, _ = strings.Cut(line, " #")
				list = append(list, strings.TrimSpace(line))
			}
		}
	}
	return append(list, spans(p.prose())...)
}
