// Package scripts holds the Lua that Redis runs. Each verb (acquire, renew, release, …) is one script in one file. The
// package makes the keys, arguments and flags of each call and reads each reply. A line like this inserts a part from include/:
//
//	-- @include "clock": seconds, micros, now, later
//
// It names the part and the variables of it that later lines use. A script includes a part once. The complete scripts
// are in testdata/, exactly as Redis runs them.
package scripts

import (
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// A Verb is what a script does.
type Verb uint8

const (
	Release Verb = iota
	Renew
	Acquire
	Inspect // these are for people
	Resize
	Revoke
	Check
	Summarize
	RenewMany
	verbs
)

func (v Verb) String() string {
	return [...]string{"release", "renew", "acquire", "inspect", "resize", "revoke", "check", "summarize", "renew_many"}[v]
}

//go:embed *.lua include/*.lua
var files embed.FS

type script struct {
	source, sha string
	boxed       any // sha
}

var all = load()

func load() (all [verbs]script) {
	for v := range verbs {
		source, err := join(files, v.String())
		if err != nil {
			panic(err) // the files are embedded: one of them is wrong
		}
		sum := sha1.Sum([]byte(source))
		sha := hex.EncodeToString(sum[:])
		all[v] = script{source, sha, sha}
	}
	return all
}

var include = regexp.MustCompile(`^-- @include "(\w+)"(?:: [\w, ]+)?$`)

// join resolves the includes of a verb's file.
func join(files fs.FS, verb string) (string, error) {
	file, err := fs.ReadFile(files, verb+".lua")
	if err != nil {
		return "", fmt.Errorf("script of %s: %w", verb, err)
	}
	var joined strings.Builder
	included := map[string]bool{}
	for line := range strings.Lines(string(file)) {
		if !strings.HasPrefix(line, "-- @include") {
			joined.WriteString(line)
			continue
		}
		m := include.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			return "", fmt.Errorf(`script of %s: %q is not of the form -- @include "name": names`, verb, strings.TrimSpace(line))
		}
		if included[m[1]] {
			return "", fmt.Errorf("script of %s: %q is included twice", verb, m[1])
		}
		included[m[1]] = true
		part, err := fs.ReadFile(files, "include/"+m[1]+".lua")
		if err != nil {
			return "", fmt.Errorf("script of %s: there is no part %q to include: %w", verb, m[1], err)
		}
		if strings.Contains(string(part), "-- @include") {
			return "", fmt.Errorf("script of %s: part %q includes another; only a verb's file includes", verb, m[1])
		}
		joined.Write(part)
	}
	return joined.String(), nil
}

// Source is the script of v, as Redis runs it.
func (v Verb) Source() string { return all[v].source }

// SHA is the name that EVALSHA has for it, in hexadecimal.
func (v Verb) SHA() string { return all[v].sha }
