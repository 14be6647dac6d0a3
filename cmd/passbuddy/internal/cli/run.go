package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/guard"
)

const longOfRun = `run waits for a permit of the semaphore NAME, runs the command under it, and gives the permit back when the last process
of the command has gone.

The command is gone before the permit is: when Redis does not answer, or the permit is taken away, the command gets TERM
a while before the permit can be given to somebody else (--grace), and KILL in time, its children too. When this program
is killed, its command is.

The command finds in its environment: PASSBUDDY_NAME, _ID, _TOKEN (grows with each lease: pass it to a store that refuses
older writers), _SLOT and _SLOTS (with --slots), _LABEL, _OWNER, _WEIGHT, _TTL_MS.

Exit codes: the command's own, 128+n for its signal n; 75 (or -E) no permit in time; 79 the lease was lost, the command
was stopped; 124 --max-hold; 69 Redis does not answer; 77 it refuses the user; 64 wrong usage; 73 the report cannot be
written; 126, 127 as a shell says them.`

const examplesOfRun = `  passbuddy run nightly --capacity 1 -n -- ./backup.sh            a cron job: the first machine runs it, the others leave
  passbuddy run gpu --capacity 8 --slots -- python train.py       one of eight GPUs; $PASSBUDDY_SLOT says which
  passbuddy run migrate --capacity 1 -w 10m -- ./migrate.sh       a migration at deploy: one at a time
  passbuddy run api -c 'curl -s "$API" | jq . > out.json'         a shell's line; the fleet declares the capacity`

func (p *program) run() *cobra.Command {
	var o guard.Options
	var (
		once, nested bool
		maxWait      time.Duration
		line, report string
		onLost       string
	)
	cmd := &cobra.Command{
		Use:     "run NAME [flags] -- COMMAND [ARGUMENT...]",
		Short:   "Run a command under a lease",
		Long:    longOfRun,
		Example: examplesOfRun,
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Capacity, "capacity", 0, "how many permits the semaphore has (default: what the fleet declares)")
	flags.DurationVar(&o.TTL, "ttl", 0, "how long the permit stays taken when this machine dies (default: what the fleet declares, or 15s)")
	flags.IntVar(&o.Weight, "weight", 1, "how many permits to take")
	flags.BoolVar(&o.Slots, "slots", false, "give each lease a number of its own, from 0 to capacity-1")
	flags.StringVar(&o.Label, "label", "", "what others see that the permit is for (default: the command's name)")
	flags.IntVar(&o.MinReplicas, "min-replicas", 0, "how many replicas must acknowledge a grant or a renewal")
	flags.DurationVarP(&maxWait, "max-wait", "w", 0, "for how long to wait for the permit (default: for ever; 0: not at all)")
	flags.BoolVarP(&once, "no-wait", "n", false, "do not wait: --max-wait 0")
	flags.DurationVar(&o.MaxHold, "max-hold", 0, "stop the command after this time")
	flags.DurationVar(&o.MinHold, "min-hold", 0, "keep the permit for this time, also when the command ends sooner")
	flags.DurationVar(&o.Grace, "grace", 0, "how long before the permit is lost the command is asked to stop (default: a fifth of the TTL)")
	flags.StringVar(&onLost, "on-lost", "stop", "what the command is sent then: stop (TERM), or signal:NAME; KILL follows in any case")
	flags.StringVar(&o.Leftover, "leftover", "wait", "processes that the command leaves behind: wait for them, or kill them")
	flags.IntVarP(&o.NoPermit, "exit-code", "E", guard.ExitNoPermit, "the exit code where no permit came in time")
	flags.StringVar(&report, "report", "", "write to this file, as JSON, how it went")
	flags.StringVarP(&line, "command", "c", "", "run this line in /bin/sh")
	flags.BoolVar(&o.Shared, "foreground", false, "keep the command in this process's group")
	flags.BoolVar(&nested, "allow-nested", false, "also inside a command that runs under a lease of NAME")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dash := cmd.ArgsLenAtDash()
		given := cmd.Flags().Changed
		switch {
		case given("command") && (len(args) != 1 || dash >= 0):
			return usagef("-c runs a line of its own: passbuddy run NAME -c 'LINE', without --")
		case given("command"):
			if strings.TrimSpace(line) == "" {
				return usagef("-c: the line is empty")
			}
			o.Command = []string{"/bin/sh", "-c", line}
		case dash < 0 && len(args) > 1:
			return usagef("the command stands after --: passbuddy run %s -- %s", args[0], strings.Join(args[1:], " "))
		case dash != 1 || len(args) < 2:
			return usagef("say which semaphore and which command: passbuddy run NAME -- COMMAND [ARGUMENT...]")
		default:
			o.Command = args[1:]
		}
		o.Name = args[0]
		switch {
		case given("capacity") && o.Capacity < 1:
			return usagef("--capacity %d: at least 1", o.Capacity)
		case o.Weight < 1:
			return usagef("--weight %d: at least 1", o.Weight)
		case o.NoPermit < 1 || o.NoPermit > 255:
			return usagef("-E %d: from 1 to 255", o.NoPermit)
		case o.Leftover != "wait" && o.Leftover != "kill":
			return usagef("--leftover %q: wait or kill", o.Leftover)
		case given("max-wait") && once:
			return usagef("-n is --max-wait 0: say one of them")
		}
		for name, d := range map[string]time.Duration{"max-wait": maxWait, "max-hold": o.MaxHold, "min-hold": o.MinHold, "ttl": o.TTL, "grace": o.Grace} {
			if d < 0 || d == 0 && given(name) && name != "max-wait" {
				return usagef("--%s %v: it must be above zero", name, d)
			}
		}
		if ttl := o.TTL; o.Grace > 0 {
			if ttl == 0 {
				ttl = guard.DefaultTTL
			}
			if o.Grace > ttl/4 {
				return usagef("--grace %v is more than a quarter of the TTL, %v: trouble with Redis that costs no lease would stop the command; use --ttl %v", o.Grace, ttl, 4*o.Grace)
			}
		}
		if s, is := strings.CutPrefix(onLost, "signal:"); is {
			if o.OnLost = unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")); o.OnLost == 0 {
				return usagef("--on-lost %s: there is no such signal", onLost)
			}
		} else if onLost == "stop" {
			o.OnLost = syscall.SIGTERM
		} else {
			return usagef("--on-lost %q: stop, or signal:NAME", onLost)
		}
		if !nested && guard.Holds(os.Getenv("PASSBUDDY_HELD"), o.Name) {
			return usagef("this runs under a lease of %q already, and would wait for itself: use --allow-nested if the capacity is large enough", o.Name)
		}
		if !given("label") {
			o.Label = label(o.Command, line)
		}
		if o.MaxWait = maxWait; once || given("max-wait") && maxWait == 0 {
			o.MaxWait = -1
		}
		host, _ := os.Hostname()
		o.URL, o.Prefix, o.Timeout = p.redisURL(), p.prefix, p.timeout
		o.Owner = fmt.Sprintf("%s/%d", strings.Map(plain, host), os.Getpid())
		o.Keeper = []string{keeperCommand}
		o.Say, o.Verbose = p.say, p.verbose
		o.Progress = func(string) {}
		if o.ShowQueue = !p.quiet && isTerminal(p.err); o.ShowQueue {
			o.Progress = p.progress()
		}
		if report != "" {
			file, err := os.Create(report)
			if err != nil {
				return failed(guard.ExitReport, "--report: %v", err)
			}
			defer file.Close()
			o.Report = file
		}
		p.code = guard.Run(o)
		return nil
	}
	return cmd
}

// label is the command's name, as far as a label can be it.
func label(command []string, line string) string {
	name := filepath.Base(command[0])
	if line != "" {
		name = filepath.Base(strings.Fields(line)[0])
	}
	name = strings.Map(plain, name)
	return name[:min(len(name), 64)]
}

// plain drops what is not allowed in owners and labels.
func plain(r rune) rune {
	if r < ' ' || r > '~' || strings.ContainsRune("@~#,", r) {
		return -1
	}
	return r
}

// progress returns a function that shows one line on the terminal, in the place of the one before.
func (p *program) progress() func(string) {
	shown := false
	return func(text string) {
		if shown {
			fmt.Fprint(p.err, "\r\x1b[K")
		}
		if shown = text != ""; shown {
			fmt.Fprint(p.err, printable(text))
		}
	}
}
