// Command papers writes what comes with the binary into a directory: the manual's pages in man/man1, and a completion file
// for each shell in completion.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra/doc"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/cli"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "papers: say where to, and for which version: papers DIRECTORY VERSION")
		os.Exit(64)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "papers:", err)
		os.Exit(1)
	}
}

// write overwrites what is there. The pages have the date in SOURCE_DATE_EPOCH, or today's.
func write(dir, version string) error {
	pages, completion := filepath.Join(dir, "man", "man1"), filepath.Join(dir, "completion")
	if err := errors.Join(os.MkdirAll(pages, 0o755), os.MkdirAll(completion, 0o755)); err != nil {
		return err
	}
	root := cli.Command()
	root.InitDefaultCompletionCmd()
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Title: "PASSBUDDY", Section: "1", Source: "passbuddy " + version, Manual: "PassBuddy"}
	return errors.Join(
		doc.GenManTree(root, header, pages),
		root.GenBashCompletionFileV2(filepath.Join(completion, "passbuddy.bash"), true),
		root.GenZshCompletionFile(filepath.Join(completion, "_passbuddy")),
		root.GenFishCompletionFile(filepath.Join(completion, "passbuddy.fish"), true),
		root.GenPowerShellCompletionFileWithDesc(filepath.Join(completion, "passbuddy.ps1")),
	)
}
