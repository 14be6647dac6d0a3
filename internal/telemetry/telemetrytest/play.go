// Package telemetrytest has the tests that the OpenTelemetry tracer and the Prometheus tracer share: that they export the
// same, and that what they export is the truth.
package telemetrytest

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/telemetry"
	"github.com/eqworks/passbuddy/lease"
)

// Play tells a tracer of everything that there is to tell, always the same.
func Play(t lease.Tracer) {
	redisError := &lease.RedisError{Op: "acquire", Name: "gpu", Err: os.ErrDeadlineExceeded}
	lost := func(why lease.LossReason) error { return &lease.LostError{Name: "gpu", Reason: why, Err: redisError} }
	info := lease.LeaseInfo{Name: "gpu", ID: "id", Token: 1000, Weight: 3, Began: time.Unix(1_800_000_000, 0)}

	errs := map[lease.Outcome]error{
		lease.OutcomeAtCapacity: &lease.CapacityError{Name: "gpu"}, lease.OutcomeCanceled: context.Canceled, lease.OutcomeClosed: lease.ErrClosed,
	}
	acquire := func(o lease.Outcome, err error) context.Context {
		ctx := t.TraceAcquireStart(context.Background(), lease.AcquireStart{Name: "gpu", Weight: 3})
		end := lease.AcquireEnd{Name: "gpu", Weight: 3, Outcome: o, Err: err, Waited: 20 * time.Millisecond}
		if err == nil {
			end.Lease = info
		}
		t.TraceAcquireEnd(ctx, end)
		return ctx
	}
	var ctx context.Context
	for o := range telemetry.Outcomes {
		if o := lease.Outcome(o); o != lease.OutcomeFailed {
			ctx = acquire(o, errs[o])
		}
	}
	for _, err := range []error{&lease.DeadlockError{}, &lease.DisagreementError{}, redisError, errors.New("what is it")} {
		acquire(lease.OutcomeFailed, err)
	}
	t.TraceAcquireStart(context.Background(), lease.AcquireStart{Name: "gpu", Weight: 1}) // goes on waiting

	for reason, err := range map[lease.EndReason]error{
		lease.EndReleased: lease.ErrReleased, lease.EndMaxHold: &lease.HoldError{}, lease.EndClosed: lease.ErrClosed, lease.EndAbandoned: lease.ErrAbandoned,
		lease.EndLost: lost(lease.LossExpired),
	} {
		t.TraceLeaseEnd(ctx, lease.LeaseEnd{Lease: info, Held: 2 * time.Second, Reason: reason, Err: err})
	}
	for _, why := range []lease.LossReason{lease.LossRemoved, lease.LossRevoked, lease.LossRevoked} {
		t.TraceLeaseEnd(ctx, lease.LeaseEnd{Lease: info, Held: 2 * time.Second, Reason: lease.EndLost, Err: lost(why)})
	}
	for _, err := range []error{nil, redisError, lost(lease.LossExpired), lease.ErrClosed} {
		releasing := t.TraceReleaseStart(ctx, lease.ReleaseStart{Lease: info})
		t.TraceReleaseEnd(releasing, lease.ReleaseEnd{Lease: info, Err: err})
	}
	t.TraceRenewal(lease.Renewal{Name: "gpu", Leases: 4, Slack: 6 * time.Second, Window: 10 * time.Second})
	t.TraceRenewal(lease.Renewal{Name: "gpu", Leases: 4, Window: 10 * time.Second, Err: redisError})
	t.TraceDisagreement(lease.Disagreement{Name: "gpu", Capacity: 8, TTL: time.Second})
	t.TraceRecovery(lease.Recovery{Name: "gpu", Outage: time.Second})
	t.TraceDropped(lease.Dropped{Name: "gpu", Calls: 5, Leases: 2, Permits: 6})
}

var update = flag.Bool("update", false, "write what is exported to testdata; read it before you commit it")

// MustExport compares what is exported, in Prometheus's text format, with a file of this package, which is the same for
// both tracers. What only an exporter adds is left aside, and so are the values of ages.
func MustExport(t *testing.T, text, golden string) {
	t.Helper()
	got := folded(text)
	if *update {
		if err := os.WriteFile(golden, []byte(strings.Join(got, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, "") == string(want) {
		return
	}
	expected := slices.Collect(strings.Lines(string(want)))
	for _, line := range got {
		if !slices.Contains(expected, line) {
			t.Errorf("exported, and not in %s: %s", golden, line)
		}
	}
	for _, line := range expected {
		if !slices.Contains(got, line) {
			t.Errorf("not exported, and in %s: %s", golden, line)
		}
	}
}

var (
	bucket = regexp.MustCompile(`^(\w+)_bucket{(.*)le="([^"]*)",?(.*)} (.*)\n`)
	age    = regexp.MustCompile(`^(\w+_age_seconds{.*}) .*\n`)
)

// folded are the lines of a text, with one for all buckets of a histogram.
func folded(text string) (lines []string) {
	type le struct {
		bound float64
		count string
	}
	buckets := map[string][]le{}
	for line := range strings.Lines(Normal(text)) {
		if at := bucket.FindStringSubmatch(line); at != nil {
			bound, _ := strconv.ParseFloat(at[3], 64)
			of := at[1] + "{" + at[2] + at[4] + "}"
			buckets[of] = append(buckets[of], le{bound, at[5]})
			continue
		}
		lines = append(lines, age.ReplaceAllString(line, "$1 age\n"))
	}
	for of, les := range buckets {
		slices.SortFunc(les, func(a, b le) int { return cmp.Compare(a.bound, b.bound) })
		line := of
		for _, le := range les {
			line += fmt.Sprintf(" %v:%s", le.bound, le.count)
		}
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	return lines
}

// Normal sorts the lines of a text, and the labels within; a label without a value is none to Prometheus.
func Normal(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || !strings.Contains(line, "passbuddy_") {
			continue
		}
		lines = append(lines, normalLine(line))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func normalLine(line string) string {
	open, end := strings.Index(line, "{"), strings.LastIndex(line, "}")
	if strings.HasPrefix(line, "#") || open < 0 {
		return line
	}
	var labels []string
	for _, label := range strings.Split(line[open+1:end], ",") {
		if !strings.HasSuffix(label, `=""`) {
			labels = append(labels, label)
		}
	}
	slices.Sort(labels)
	return line[:open] + "{" + strings.Join(labels, ",") + "}" + line[end+1:]
}

// Values are the samples of a text, by series, its labels sorted.
func Values(text string) (map[string]float64, error) {
	values := map[string]float64{}
	for line := range strings.Lines(Normal(text)) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		at := strings.LastIndex(line, " ")
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		values[line[:at]] = value
	}
	return values, nil
}
