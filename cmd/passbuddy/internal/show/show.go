// Package show is how the commands and the live view present values to people.
package show

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/eqworks/passbuddy/internal/view"
)

// Printable escapes what would change the state of a terminal: names and labels come from Redis, and anybody may have
// written them.
func Printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r) || r == '\n':
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Line is Printable, without line breaks.
func Line(s string) string { return Printable(strings.ReplaceAll(s, "\n", " ")) }

// Seconds is a duration; nil: there is none.
func Seconds(s *float64) string {
	if s == nil {
		return "-"
	}
	return view.Brief(time.Duration(*s * float64(time.Second)))
}

// Expiry is the time until the next expiry of a semaphore.
func Expiry(v view.Semaphore) string {
	if v.Expires == nil {
		return "-"
	}
	return view.Brief(v.Expires.Sub(v.ServerTime).Round(time.Millisecond))
}

// Dash stands for what is empty.
func Dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Owner is by what people recognise a process: its owner without the number that the library adds to tell managers of one
// process apart.
func Owner(owner string) string {
	name, _, _ := strings.Cut(owner, "~")
	return name
}

// Numbers lists the numbers of slots.
func Numbers(list []int) string {
	text := make([]string, len(list))
	for i, n := range list {
		text[i] = fmt.Sprint(n)
	}
	return Dash(strings.Join(text, ","))
}

// Because is a reason, where there is one.
func Because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// Quoted is a name for a shell's line.
func Quoted(name string) string {
	if strings.IndexFunc(name, func(r rune) bool {
		return !strings.ContainsRune("-_.:/+@%", r) && (r < '0' || r > 'z' || r > '9' && r < 'A' || r > 'Z' && r < 'a')
	}) < 0 && name != "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
