package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/report"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

// choose returns the workloads with the cases and contenders that only names; with none of a kind named,
// all of that kind.
func choose(b *workload.Bench, only string) ([]workload.Workload, error) {
	all := workload.All(b)
	if only == "" {
		return all, nil
	}
	var cases, contenders []string
	for _, word := range strings.Split(only, ",") {
		word = strings.TrimSpace(word)
		if slices.ContainsFunc(all, func(w workload.Workload) bool { return w.Key == word || anyCase(w, word) }) {
			cases = append(cases, word)
		} else if _, err := contender.Find(word); err == nil {
			contenders = append(contenders, word)
		} else {
			return nil, fmt.Errorf("-only: there is no workload, case or contender %q; -list lists them", word)
		}
	}
	for i := range all {
		w := &all[i]
		w.Cases = slices.DeleteFunc(w.Cases, func(c workload.Case) bool {
			return len(cases) > 0 && !slices.ContainsFunc(cases, func(word string) bool { return isCase(c, word) })
		})
		for j := range w.Cases {
			c := &w.Cases[j]
			c.Contenders = slices.DeleteFunc(slices.Clone(c.Contenders), func(key string) bool {
				return len(contenders) > 0 && !slices.Contains(contenders, key)
			})
		}
	}
	return all, nil
}

// isCase reports whether word is the key of a case, or the beginning of it.
func isCase(c workload.Case, word string) bool {
	return c.Key == word || strings.HasPrefix(c.Key, word+"/")
}

func anyCase(w workload.Workload, word string) bool {
	return slices.ContainsFunc(w.Cases, func(c workload.Case) bool { return isCase(c, word) })
}

func roundsOf(w workload.Workload, rounds int) int {
	if rounds > 0 {
		return rounds
	}
	return w.Rounds
}

// count returns how many measurements there are.
func count(workloads []workload.Workload, rounds int) int {
	n := 0
	for _, w := range workloads {
		for _, c := range w.Cases {
			if c.Skip == "" {
				n += len(c.Contenders) * roundsOf(w, rounds)
			}
		}
	}
	return n
}

// measure runs all rounds and adds their records to r. It returns how many failed. Within a round the
// contenders of a case follow each other, each round beginning with another one, so that a slow minute of
// the machine hits all of them alike.
func measure(ctx context.Context, b *workload.Bench, workloads []workload.Workload, rounds int, r *report.Run, p *progress) (failed int) {
	for _, w := range workloads {
		if len(w.Cases) > 0 {
			p.heading(w)
		}
		for round := range roundsOf(w, rounds) {
			for i := range w.Cases {
				c := &w.Cases[i]
				if c.Skip != "" {
					if round == 0 {
						p.skip(c)
					}
					continue
				}
				for j := range c.Contenders {
					key := c.Contenders[(j+round)%len(c.Contenders)]
					started := time.Now()
					metrics, err := c.Measure(ctx, b, key)
					if ctx.Err() != nil {
						return failed
					}
					record := report.Record{Case: c.Key, Contender: key, Round: round, Metrics: metrics}
					if err != nil {
						failed++
						record.Error, record.Metrics = err.Error(), nil
					}
					r.Records = append(r.Records, record)
					p.done(w, c, key, round, metrics, err, time.Since(started))
					var violation *workload.ViolationError
					if errors.As(err, &violation) {
						p.say("!!! %s: %v", key, violation)
					}
				}
			}
		}
	}
	return failed
}
