package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unicode"
)

// printable escapes what would change the state of a terminal: names and labels come from Redis, and anybody may have
// written them.
func printable(s string) string {
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

// printJSON prints v as one indented JSON value.
func (p *program) printJSON(v any) error {
	enc := json.NewEncoder(p.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// noColorVariable reports whether the environment permits colours.
func noColorVariable() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }
