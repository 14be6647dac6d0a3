package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is set by make dist.
var Version = ""

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  passbuddy version\n  passbuddy version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Schema  int    `json:"schema"`
				Version string `json:"version"`
				Go      string `json:"go"`
				System  string `json:"system"`
			}{1, versionOf(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if p.json {
				return p.printJSON(v)
			}
			_, err := fmt.Fprintf(p.out, "passbuddy %s (%s, %s)\n", v.Version, v.Go, v.System)
			return err
		},
	}
}

func versionOf() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			return info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "devel " + s.Value[:12]
			}
		}
	}
	return "devel"
}
