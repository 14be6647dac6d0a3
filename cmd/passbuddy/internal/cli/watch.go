package cli

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"

	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/watch"
)

func (p *program) watch() *cobra.Command {
	return &cobra.Command{
		Use:   "watch [NAME...]",
		Short: "Show all semaphores live in the terminal, and act on them",
		Long: `watch shows the semaphores, or those whose names match one of the patterns, and looks again each second. Enter opens one:
who holds it, who waits. An operator can pause, resume and resize a semaphore, and revoke a permit: each is asked first. The
key ? lists the keys.

When Redis does not answer, the last picture stays, in grey, and it goes on by itself.`,
		Example: "  passbuddy watch\n  passbuddy watch gpu 'api-*'",
		RunE: func(cmd *cobra.Command, args []string) error {
			terminal, err := p.terminal("passbuddy ls --watch")
			if err != nil {
				return err
			}
			m, err := p.open()
			if err != nil {
				return err
			}
			defer m.Close()
			if _, err := show.NewLooker(m, args...); err != nil {
				return usagef("%v", err)
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			view, err := watch.New(ctx, watch.Config{Fleet: m, Patterns: args, Timeout: p.timeout, Where: hostOf(p.redisURL())})
			if err != nil {
				return err
			}
			return p.live(watch.Show(ctx, view.Program(), terminal))
		},
	}
}

// terminal is where a live view is drawn. It fails where there is none; instead is the command to use there. From then on
// the client library is silent: its log would go into the picture.
func (p *program) terminal(instead string) (watch.Terminal, error) {
	switch {
	case !isTerminal(p.out):
		return watch.Terminal{}, usagef("standard output is no terminal: use %s", instead)
	case os.Getenv("TERM") == "dumb":
		return watch.Terminal{}, usagef("the terminal cannot move its cursor (TERM is dumb): use %s", instead)
	}
	logging.Disable()
	var in io.Reader
	if isTerminal(p.in) {
		in = p.in
	}
	return watch.Terminal{In: in, Out: p.out, Colour: !p.noColor && noColorVariable()}, nil
}

// live is how the program ends after a live view.
func (p *program) live(err error) error {
	switch {
	case errors.Is(err, watch.ErrInterrupted):
		return failed(130, "")
	case errors.Is(err, watch.ErrHangup):
		return failed(129, "")
	}
	return err
}

// hostOf is what people call a server: its URL without user, password and options.
func hostOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return ""
	case u.Host == "":
		return u.Path
	}
	return u.Host
}
