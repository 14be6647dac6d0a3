// Package examples_test runs every example as people do, and reads what it prints.
package examples_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
)

const limit = 20 * time.Second // for an example to end by itself

// prints are what each example must say, in this order.
var prints = map[string][]string{
	"worker": {
		`5 workers compete for 2 permits of "example-worker", on an embedded Redis`,
		`worker \d  got a permit`,
		`renewed`,
		`network   STALLS`,
		`worker \d  LOST: trust window ended without a renewal`,
		`\d+ ms before Redis gives the permit away`,
		`network   is back`,
		`worker \d  got a permit`,
		`the day is over; cleans up`,
		`\d+ leases, each with a token of its own: \d+ finished, [1-9]\d* lost in the stall`,
		`Never more than 2 live at a time here, and never more than 2 permits in Redis`,
	},
	"pipeline": {
		`Run 1`, `30 records written`,
		`Run 2`, `ZREM passbuddy-example-pipeline`, `errgroup says:  context canceled`, `the lease says: lease: lost permit .* removed from Redis`,
		`Run 3: 2 pipelines`, `30 records written`, `30 records written`, `never more than 3 calls at a time`,
	},
	"httplimit": {
		`3 servers share 6 permits`,
		`calm +6 +[1-9]\d* +\d+, \d+ +0 +- +6\n`,
		`rush +90 +[1-9]\d* +\d+, \d+ +[1-9]\d* +\d+ +6\n`,
		`calm +6 +[1-9]\d* `,
		`Never more than 6 at work at a time, in all servers together\. [1-9]\d* requests were shed`,
		`A hot path: 12 clients ask the 3 servers without a pause`,
		`without Linger +[1-9]\d* +\d\.\d\d\n`, `Linger 20ms +[1-9]\d* +0\.\d\d\n`,
	},
	"gpu": {
		`3 processes with 4 jobs each share 4 GPUs as "example-gpu"`,
		`job \d\.\d +runs on GPU \d`,
		`operator +sees job \d\.\d on \[0\b`,
		`runs on GPU \d and \d\n`,
		`12 jobs are done\. No GPU ever had two of them\.`,
	},
	"leader": {
		`node \d +LEADS, token`,
		`network +STALLS around node \d`,
		`node \d +STEPS DOWN: trust window ended without a renewal`,
		`node \d +LEADS, token`,
		`network +is back`,
		`store +REFUSES the late write: token …\d+ is older than …\d+`,
		`node \d +resigns: told to resign`,
		`node \d +LEADS, token`,
		`3 leaders; the store took \d+ writes, in the order of their tokens, and refused 1\n`,
	},
	"cron": {
		`Monday night`, `machine \d  RUNS the job from step 1`, `machine \d  has done the job`, `finds the job done`, `finds the job done`,
		`Monday: 8 of 8 steps, each once, by \[machine \d\]`,
		`Tuesday night`, `machine \d is sent SIGTERM`, `stops: SIGTERM; saves where it is, under Held\(\)`, `has saved, gives the permit back`,
		`RUNS the job from step 4`, `has done the job`,
		`Tuesday: 8 of 8 steps, each once, by \[machine \d machine \d\]`,
	},
}

func TestMain(m *testing.M) {
	redistest.RunMoreInParallel()
	os.Exit(m.Run())
}

func TestEveryExampleIsRead(t *testing.T) {
	mains, err := filepath.Glob("*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, main := range mains {
		if _, err := os.Stat(filepath.Join(filepath.Dir(main), "go.mod")); err == nil {
			continue // a module of its own, with tests of its own
		}
		if _, ok := prints[filepath.Dir(main)]; !ok {
			t.Errorf("%s is in no test", main)
		}
	}
}

func TestExamplesPrintWhatTheyShow(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds and runs every example, half a minute")
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", bin)
	for name := range prints {
		build.Args = append(build.Args, "./"+name)
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for name := range prints {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			cmd := exec.CommandContext(ctx, filepath.Join(bin, name))
			cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "REDIS_URL=") })
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v (%v)", name, err, context.Cause(ctx))
			}
			rest := out
			for _, want := range prints[name] {
				at := regexp.MustCompile(want).FindIndex(rest)
				if at == nil {
					t.Errorf("it does not say %q, or not in its place", want)
					break
				}
				rest = rest[at[1]:]
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}
