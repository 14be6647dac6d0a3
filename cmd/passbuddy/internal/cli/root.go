// Package cli is the command line: a file for each command, and what they share.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/guard"
	"github.com/eqworks/passbuddy/lease"
)

// A program is one call of the command line.
type program struct {
	in       io.Reader
	out, err io.Writer

	url     string
	prefix  string
	timeout time.Duration
	json    bool
	noColor bool
	quiet   bool
	verbose bool

	began bool // the line was understood
	code  int  // of a command that ran another, and has said all
}

// Main runs the command line and returns the exit code. stdout gets data, stderr all else.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 1 && args[0] == keeperCommand {
		if err := guard.Keep(os.NewFile(3, "front")); err != nil {
			return guard.ExitInternal
		}
		return 0
	}
	p := &program{in: stdin, out: stdout, err: stderr}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	// A command that runs another handles signals itself.
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if cmd, _, err := root.Find(args); err != nil || cmd.Name() != "run" {
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
	}
	err := root.ExecuteContext(ctx)
	if err == nil {
		return p.code
	}
	if ctx.Err() != nil {
		return 128 + int(syscall.SIGINT) // or by TERM: whoever sent it knows why
	}
	f := p.failureOf(err)
	if f.text != "" {
		p.say("%s", f.text)
	}
	return f.code
}

// The keeper of a run is this program with one argument that nobody types.
const keeperCommand = "keep-lease-of-parent"

// Command is the command line without its input and output: for the manual.
func Command() *cobra.Command { return new(program).root() }

const examplesOfRoot = `  passbuddy run nightly --capacity 1 -n -- ./backup.sh    a cron job, once in the fleet
  passbuddy ls                                            all semaphores
  passbuddy inspect gpu                                   who holds it, who waits
  passbuddy watch                                         the same, live
  passbuddy pause gpu                                     grant none until passbuddy resume gpu
  passbuddy demo                                          what all this is, in a minute`

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "passbuddy",
		Short: "Leases on permits of a fleet-wide semaphore on Redis",
		Long: `passbuddy runs commands under leases of a semaphore that a fleet of machines shares through Redis, and shows and changes
who holds what.`,
		Example:          examplesOfRoot,
		SilenceErrors:    true,
		SilenceUsage:     true,
		Args:             cobra.NoArgs,
		PersistentPreRun: func(*cobra.Command, []string) { p.began = true },
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&p.url, "url", "", "where Redis is: redis://, rediss://, unix://, Sentinel and Cluster as in lease.Open\n(default $PASSBUDDY_URL, $REDIS_URL, or redis://127.0.0.1:6379)")
	flags.StringVar(&p.prefix, "prefix", "passbuddy", "what the names of the keys begin with")
	flags.DurationVar(&p.timeout, "timeout", 5*time.Second, "for how long Redis may take to answer")
	flags.BoolVar(&p.json, "json", false, "print JSON")
	flags.BoolVar(&p.noColor, "no-color", false, "print no colours (also NO_COLOR)")
	flags.BoolVarP(&p.quiet, "quiet", "q", false, "say nothing but errors")
	flags.BoolVarP(&p.verbose, "verbose", "v", false, "say more")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%v (see %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(p.run(), p.ls(), p.inspect(), p.watch(), p.resize(), p.pause(), p.resume(), p.revoke(), p.doctor(), p.demo(), p.serve(), p.version())
	p.completed(root)
	return root
}

// A failure is an error with an exit code.
type failure struct {
	code int
	text string // empty: it has been said
}

func (f *failure) Error() string { return f.text }

func failed(code int, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...)}
}

func usagef(format string, args ...any) error { return failed(guard.ExitUsage, format, args...) }

func (p *program) failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	if !p.began { // cobra's own errors are about the line
		return &failure{guard.ExitUsage, err.Error() + " (see passbuddy --help)"}
	}
	known := guard.FailureOf(err)
	return &failure{known.Exit, known.Text}
}

// say prints a line for people.
func (p *program) say(format string, args ...any) {
	fmt.Fprintf(p.err, "passbuddy: %s\n", printable(fmt.Sprintf(format, args...)))
}

// redisURL is where Redis is.
func (p *program) redisURL() string {
	for _, url := range []string{p.url, os.Getenv("PASSBUDDY_URL"), os.Getenv("REDIS_URL")} {
		if url != "" {
			return url
		}
	}
	return "redis://127.0.0.1:6379"
}

// open makes a manager for a command that looks or acts.
func (p *program) open() (*lease.Manager, error) {
	logger := slog.New(slog.DiscardHandler)
	if p.verbose {
		logger = slog.New(slog.NewTextHandler(p.err, nil))
	}
	return lease.Open(p.redisURL(), lease.Options{Prefix: p.prefix, Logger: logger})
}

// isTerminal reports whether w is one.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
