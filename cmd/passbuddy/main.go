// Command passbuddy runs commands under leases of a fleet-wide semaphore on Redis, and shows and changes who holds what.
package main

import (
	"os"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
