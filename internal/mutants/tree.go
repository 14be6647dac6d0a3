package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A tree is the text of all sources that a mutant may change, by their path from the module's root.
type tree map[string]string

// readTree reads the sources below the working directory, the module's root: Go and Lua, without tests,
// without what they compare with, without this program, whose list has every text, and without modules of their own.
func readTree() (tree, error) {
	t := tree{}
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			_, notAModule := os.Stat(filepath.Join(path, "go.mod"))
			if path != "." && (notAModule == nil || strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata" || path == filepath.Join("internal", "mutants")) {
				return filepath.SkipDir
			}
			return nil
		}
		if ext := filepath.Ext(path); ext != ".go" && ext != ".lua" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		t[path] = string(b)
		return err
	})
	return t, err
}

// find returns the file with the text of e: the one that e names, or else the only one that has it.
func (t tree) find(e edit) (string, error) {
	if n := strings.Count(t[e.file], e.old); n == 1 {
		return e.file, nil
	} else if n > 1 {
		return "", fmt.Errorf("%s has %q %d times, want once", e.file, e.old, n)
	}
	var found []string
	for _, path := range slices.Sorted(maps.Keys(t)) {
		for range strings.Count(t[path], e.old) {
			found = append(found, path)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s has no %q, and the other sources have it %d times, want once: %v", e.file, e.old, len(found), found)
	}
	return found[0], nil
}

// changed returns the files that m changes, as it leaves them.
func (t tree) changed(m mutant) (tree, error) {
	with := tree{}
	for _, e := range m.edits {
		now := maps.Clone(t)
		maps.Copy(now, with)
		path, err := now.find(e)
		if err != nil {
			return nil, err
		}
		with[path] = strings.Replace(now[path], e.old, e.new, 1)
	}
	for path, text := range with {
		same, err := equal(path, t[path], text)
		if err != nil {
			return nil, fmt.Errorf("does not compile: %w", err)
		}
		if same {
			return nil, fmt.Errorf("%s is as it was", path)
		}
	}
	return with, nil
}

// overlay writes changed files to dir, and the JSON that has the compiler take them.
func (t tree) overlay(dir string) (string, error) {
	replace := map[string]string{}
	for path, text := range t {
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(path)))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[abs] = file
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}
