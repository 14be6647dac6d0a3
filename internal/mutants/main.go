// Mutants breaks the library on purpose, one small change at a time, and checks that the tests notice.
//
//	go run ./internal/mutants            # all
//	go run ./internal/mutants -run wall  # those whose name matches
//	go run ./internal/mutants -list
//	go run ./internal/mutants -apply     # only see that each fits the code, and compiles
//
// A mutant is an entry of a list (leases.go, queue.go, clocks.go, …): what it breaks, where, how, and which tests must
// fail; list.go has what the lists share. The
// changed file reaches the compiler through go build's -overlay, so the tree itself is never touched. A
// mutant whose text is not found exactly once, that does not compile, or whose tests do not exist, is an
// error: the list has to follow the code. The exit code is 1 when a mutant survives or an error occurs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// A mutant is one way to break a promise.
type mutant struct {
	name  string
	edits []edit
	pkg   string // whose tests must notice
	run   string // which of them
	args  []string
	real  bool // tests on a real Redis, too
}

type edit struct{ file, old, new string }

func main() {
	pattern := flag.String("run", "", "only mutants whose name matches")
	list := flag.Bool("list", false, "name the mutants and end")
	apply := flag.Bool("apply", false, "only see that each fits the code and compiles")
	workers := flag.Int("parallel", runtime.NumCPU(), "how many at a time")
	flag.Parse()
	chosen := regexp.MustCompile(*pattern)
	var all []mutant
	for _, m := range slices.Concat(mutants, clockMutants, edgeMutants, waitingMutants, truthMutants, limitMutants, tracerMutants, lingerMutants, labelMutants, slotMutants, replicaMutants, operatorMutants, leaderMutants, jointMutants) {
		if chosen.MatchString(m.name) {
			all = append(all, m)
		}
	}
	if *list {
		for _, m := range all {
			fmt.Println(m.name)
		}
		return
	}
	work := hunt
	if *apply {
		work = fit
	}
	if err := work(all, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// hunt sees that the unbroken code passes, and then lets the tests loose on each mutant.
func hunt(all []mutant, workers int) error {
	if err := healthy(all); err != nil {
		return err
	}
	caught := 0
	each(all, workers, func(m mutant, dir string) (string, bool) {
		start := time.Now()
		by, err := m.hunt(dir)
		took := time.Since(start).Round(100 * time.Millisecond)
		switch {
		case err != nil:
			return fmt.Sprintf("ERROR     %-55s %v", m.name, err), false
		case len(by) == 0:
			return fmt.Sprintf("SURVIVED  %-55s %v", m.name, took), false
		}
		return fmt.Sprintf("caught    %-55s %v by %s", m.name, took, strings.Join(by, ", ")), true
	}, func(text string, isCaught bool) {
		fmt.Println(text)
		if isCaught {
			caught++
		}
	})
	fmt.Printf("%d of %d mutants caught\n", caught, len(all))
	if caught < len(all) {
		return errors.New("not all were caught")
	}
	return nil
}

// each does work on every mutant, several at a time, in a folder of its own, and tells the results one by one.
func each(all []mutant, workers int, work func(m mutant, dir string) (string, bool), tell func(string, bool)) {
	todo := make(chan mutant)
	var telling sync.Mutex
	var working sync.WaitGroup
	for range max(workers, 1) {
		working.Go(func() {
			for m := range todo {
				dir, err := os.MkdirTemp("", "mutants")
				text, good := "", false
				if err != nil {
					text = fmt.Sprintf("ERROR     %-55s %v", m.name, err)
				} else {
					text, good = work(m, dir)
					_ = os.RemoveAll(dir)
				}
				telling.Lock()
				tell(text, good)
				telling.Unlock()
			}
		})
	}
	for _, m := range all {
		todo <- m
	}
	close(todo)
	working.Wait()
}

// groups joins mutants whose tests can run together.
func groups(all []mutant) map[string]mutant {
	byPackage := map[string]mutant{} // and arguments: all its tests in one run
	for _, m := range all {
		key := fmt.Sprint(m.pkg, m.args, m.real)
		if g, seen := byPackage[key]; seen {
			m.run = g.run + "|" + m.run
		}
		byPackage[key] = m
	}
	return byPackage
}

// named sees that there are the tests that must notice: a name may have changed.
func named(all []mutant) error {
	for _, g := range groups(all) {
		out, err := exec.Command("go", "test", "-vet=off", "-list", ".", g.pkg).CombinedOutput()
		if err != nil {
			return fmt.Errorf("the tests of %s: %v\n%s", g.pkg, err, out)
		}
		for _, word := range strings.Split(g.run, "|") {
			test, story, _ := strings.Cut(word, "/") // the list of tests has no subtests
			if !regexp.MustCompile("(?m)^(Test|Fuzz).*" + test).Match(out) {
				return fmt.Errorf("%s has no test that matches %s", g.pkg, word)
			}
			if _, err := os.Stat(filepath.Join(g.pkg, "testdata", "stories", story+".txt")); story != "" && err != nil {
				return err
			}
		}
	}
	return nil
}

// healthy runs the tests of all mutants on the code as it is, each once.
func healthy(all []mutant) error {
	if err := named(all); err != nil {
		return err
	}
	for _, g := range groups(all) {
		if out, err := g.test(""); err != nil {
			return fmt.Errorf("without a mutant, %s in %s: %v\n%s", g.run, g.pkg, err, out)
		}
	}
	return nil
}

// hunt returns the tests that noticed m.
func (m mutant) hunt(dir string) (by []string, err error) {
	overlay, err := m.overlay(dir)
	if err != nil {
		return nil, err
	}
	out, err := m.test(overlay)
	if err == nil {
		return nil, nil
	}
	if strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]") {
		return nil, fmt.Errorf("does not compile:\n%s", out)
	}
	for _, f := range regexp.MustCompile(`(?m)^--- FAIL: (\w+)`).FindAllStringSubmatch(out, -1) {
		if !slices.Contains(by, f[1]) {
			by = append(by, f[1])
		}
	}
	if len(by) == 0 { // a panic, a fatal error or a time-out ends the run before its summary
		if f := regexp.MustCompile(`(?m)^(panic|fatal error): .*$`).FindString(out); f != "" {
			return []string{f}, nil
		}
		return nil, fmt.Errorf("the tests failed, and none says so:\n%s", out)
	}
	return by, nil
}

// overlay writes the changed files, and the JSON that has the compiler take them.
func (m mutant) overlay(dir string) (string, error) {
	sources, err := readTree()
	if err != nil {
		return "", err
	}
	with, err := sources.changed(m)
	if err != nil {
		return "", err
	}
	return with.overlay(dir)
}

// test runs m's tests, on the code as it is when overlay is empty.
func (m mutant) test(overlay string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Minute)
	defer cancel()
	timeout := "-timeout=20m"
	if overlay != "" {
		timeout = "-timeout=60s" // some turn in circles
		if len(m.args) > 0 {
			timeout = "-timeout=15m" // and a fleet may have to live often
		}
	}
	args := []string{"test", "-count=1", timeout, "-vet=off", "-failfast", "-ldflags=-s -w", "-run", m.run}
	if len(m.args) == 0 { // no fleet: compiling takes longer than running
		args = append(args, "-gcflags=-N -l")
	}
	if len(m.args) == 0 && !m.real { // nothing needs real time
		args = append(args, "-skip", "RealRedis")
	}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	args = append(args, m.pkg)
	out, err := exec.CommandContext(ctx, "go", append(args, m.args...)...).CombinedOutput()
	return string(out), err
}
