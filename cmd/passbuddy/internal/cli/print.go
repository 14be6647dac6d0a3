package cli

import (
	"encoding/json"
	"os"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
)

// printable escapes what would change the state of a terminal.
func printable(s string) string { return show.Printable(s) }

// printJSON prints v as one indented JSON value.
func (p *program) printJSON(v any) error {
	enc := json.NewEncoder(p.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// noColorVariable reports whether the environment permits colours.
func noColorVariable() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }
