package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"sync"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/demo"
)

const whatNext = `
Next, on a Redis of your own:
  passbuddy run nightly --capacity 1 -n -- ./backup.sh    a command that one machine of the fleet runs
  README.md, "In code"                                    the same in Go, as a library
  passbuddy doctor                                        is this Redis fit for leases?
`

func (p *program) demo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show in a minute what leases are, without any set-up",
		Long: `demo plays with a small fleet on a Redis inside this program. Workers compete for permits and are served in order, one
crashes, one is cut off from Redis, and an operator pauses, resumes and revokes. Each line says what has just happened.

On a terminal it shows the live view above the lines, until q; the keys of passbuddy watch work there. Elsewhere it prints
the lines, and ends after a minute. The first lines have the address of the live page. It leaves nothing behind.`,
		Example: "  passbuddy demo\n  passbuddy demo | cat",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.url != "" {
				return usagef("--url %s: the demo has a Redis of its own; leave it out", hostOf(p.url))
			}
			logging.Disable()
			signal.Ignore(syscall.SIGPIPE) // a write fails instead
			d, err := demo.Start(demo.Config{})
			if err != nil {
				return err
			}
			defer d.Close()
			terminal, notOne := p.terminal("passbuddy demo | cat")
			if notOne == nil {
				if err := p.live(demo.Show(cmd.Context(), d, terminal)); err != nil {
					return err
				}
			} else if err := p.tell(cmd.Context(), d); err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.out, "%s\n%s", d.Summary(), whatNext)
			return untilClosed(err)
		},
	}
}

// tell prints what happens, for as long as the demo lasts. It fails where the fleet or the output does.
func (p *program) tell(ctx context.Context, d *demo.Demo) error {
	var playing sync.WaitGroup
	defer playing.Wait()
	play, end := context.WithTimeout(ctx, demo.Lasts)
	defer end()
	var failure error
	playing.Go(func() {
		if err := d.Play(play, false); play.Err() == nil {
			failure = err
		}
		end()
	})
	for n := 0; ; n++ {
		e, ok := d.Next(play, n)
		if !ok {
			break
		}
		line := e.Line(d.Began)
		if e.Kind == demo.Scene && n > 0 {
			line = "\n" + line
		}
		if _, err := fmt.Fprintln(p.out, line); err != nil {
			return untilClosed(err)
		}
	}
	end()
	playing.Wait()
	return errors.Join(failure, ctx.Err())
}
