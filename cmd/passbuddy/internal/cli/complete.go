package cli

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/doctor"
	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/lease"
)

// completeWithin is how long a person waits for a completion.
const completeWithin = time.Second

type completion = func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective)

// completed has the commands complete what follows them. What Redis does not say in time is left out, without a word.
func (p *program) completed(root *cobra.Command) {
	none := cobra.ShellCompDirectiveNoFileComp
	first := func(then completion) completion {
		return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return then(cmd, args, begun)
			}
			return p.names(cmd.Context(), begun), none
		}
	}
	nothing := cobra.NoFileCompletions
	for name, f := range map[string]completion{
		"ls": first(nothing), "inspect": first(nothing), "resize": first(nothing), "pause": first(nothing), "resume": first(nothing),
		"revoke": first(func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.permits(cmd.Context(), args[0], begun), none
		}),
		"run": first(func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault // the command that it runs
		}),
		"watch": func(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return p.names(cmd.Context(), begun), none
		},
		"doctor": nothing, "version": nothing, "demo": nothing, "serve": nothing,
	} {
		commandOf(root, name).ValidArgsFunction = f
	}
	for command, flags := range map[string]map[string]completion{
		"ls": {"sort": cobra.FixedCompletions(show.Orders, none)},
		"doctor": {
			"name": func(cmd *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
				return p.names(cmd.Context(), begun), none
			},
			"only": cobra.FixedCompletions(doctor.IDs(), none), "skip": cobra.FixedCompletions(doctor.IDs(), none),
		},
		"run": {"leftover": cobra.FixedCompletions([]string{"wait", "kill"}, none), "on-lost": cobra.FixedCompletions([]string{"stop", "signal:"}, none)},
	} {
		for name, f := range flags {
			if err := commandOf(root, command).RegisterFlagCompletionFunc(name, f); err != nil {
				panic(err) // there is no such flag
			}
		}
	}
}

func commandOf(root *cobra.Command, name string) *cobra.Command {
	cmd, _, err := root.Find([]string{name})
	if err != nil {
		panic(err) // there is no such command
	}
	return cmd
}

// names are those of semaphores that begin so.
func (p *program) names(ctx context.Context, begun string) (found []cobra.Completion) {
	p.briefly(ctx, func(ctx context.Context, m *lease.Manager) {
		all, err := m.Names(ctx)
		if err != nil {
			return
		}
		for _, name := range all {
			if strings.HasPrefix(name, begun) {
				found = append(found, name)
			}
		}
	})
	return found
}

// permits are the ids of permits of a semaphore that begin so, with who holds them.
func (p *program) permits(ctx context.Context, name, begun string) (found []cobra.Completion) {
	p.briefly(ctx, func(ctx context.Context, m *lease.Manager) {
		state, err := m.Inspect(ctx, name)
		if err != nil {
			return
		}
		for _, h := range state.Holders {
			if strings.HasPrefix(h.ID, begun) {
				found = append(found, cobra.CompletionWithDesc(show.Line(h.ID), show.Line(show.Owner(h.Owner)+" "+h.Label)))
			}
		}
	})
	return found
}

// briefly asks Redis for a second at most.
func (p *program) briefly(ctx context.Context, ask func(context.Context, *lease.Manager)) {
	logging.Disable()
	p.verbose = false
	m, err := p.open()
	if err != nil {
		return
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	ask(ctx, m)
}
