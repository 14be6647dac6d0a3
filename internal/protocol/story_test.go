package protocol

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestStories runs each script of testdata/stories. A script is a sequence of commands to one state, and after each
// command stands what the state has decided. testdata/README.md lists the commands.
//
//	go test ./internal/protocol -run Stories            # compares the output
//	go test ./internal/protocol -run Stories -rewrite   # writes the output: read what it wrote
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no stories: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			s := newStory()
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				output, err := s.run(d.Cmd, d.CmdArgs)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				return output
			})
		})
	}
}

// A story is one state, its callers, and the batches that it has sent to a Redis that answers as the script says.
type story struct {
	*State
	now      Instant
	attempts int // MaxAttempts of its callers
	callers  []*caller
	permits  map[string]string // id: label
	batches  []*Batch          // in the order in which they were sent
	answered map[*Batch]bool
	reported reported
}

// A caller asks for permits. The first id under which it asks has the caller's name as its label, the second has
// the name and .2, and so on.
type caller struct {
	name   string
	waiter *Waiter
	ids    int
	told   bool  // the report has said how the wait ended
	freed  bool  // the report has said how the release went
	place  int64 // in the queue, as the report said it last
}

func newStory() *story {
	return &story{now: at(0), permits: map[string]string{}, answered: map[*Batch]bool{}, reported: newReported()}
}

// commands are what a script can say. Each takes at=: the time since the story began, which never goes back.
var commands = map[string]func(*story, *arguments) (string, error){
	"new":         (*story).begin,
	"reconfigure": (*story).reconfigure,
	"ask":         (*story).ask,
	"hold":        (*story).hold,
	"queue":       (*story).queue,
	"leave":       (*story).leave,
	"depart":      (*story).depart,
	"reply":       (*story).reply,
	"fail":        (*story).fail,
	"tick":        (*story).tick,
	"notify":      (*story).notify,
	"subscribed":  (*story).subscribed,
	"release":     (*story).release,
	"renew":       (*story).renewNow,
	"step":        (*story).step,
	"suspend":     (*story).suspend,
	"drain":       (*story).drain,
	"close":       (*story).close,
	"schedule":    (*story).schedule,
}

// run carries one command out and returns what it says, and what the state has decided.
func (s *story) run(name string, args []datadriven.CmdArg) (string, error) {
	command, known := commands[name]
	if !known {
		return "", fmt.Errorf("there is no command %q", name)
	}
	if (s.State == nil) != (name == "new") {
		return "", errors.New("a story begins with new, and says it once")
	}
	a := &arguments{rest: slices.Clone(args)}
	passed := a.duration("at", s.elapsed(s.now)) - s.elapsed(s.now)
	if passed < 0 {
		return "", fmt.Errorf("at=%v: it is %v already", s.elapsed(s.now)+passed, s.elapsed(s.now))
	}
	s.now = s.now.Add(passed)
	output, err := command(s, a)
	if err = a.refuse(err); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return output + s.report(), nil
}

// elapsed is the time from the begin of the story until i.
func (s *story) elapsed(i Instant) time.Duration { return i.Mono - at(0).Mono }

// begin makes the state. The random numbers are zero: a poll comes after three quarters of RetryInterval.
func (s *story) begin(a *arguments) (string, error) {
	cfg := configOf(a.number("capacity", 1), testTTL)
	cfg.Handover = a.duration("handover", cfg.Handover)
	if a.flag("no-handover") {
		cfg.Handover = -1
	}
	cfg.Linger, cfg.Slots, cfg.MinReplicas = a.duration("linger", 0), a.flag("slots"), a.number("min-replicas", 0)
	s.attempts = a.number("max-attempts", 0)
	ids := 0
	state := New(&cfg, 1, func(weight int, _ string) string { ids++; return idOf(ids, weight) }, func() float64 { return 0 })
	s.State = &state
	s.Needed = a.duration("needed", time.Millisecond) // the server has answered before
	s.Watched = a.flag("events")
	if born := a.duration("born", 0); born > 0 {
		s.Born = at(born)
	}
	return fmt.Sprintf("capacity %d, TTL %v, window %v\n", cfg.Capacity, cfg.TTL, s.Window), nil
}

// ask has a caller ask for permits. One whose wait is over asks again with the same waiter, as Acquire does where a
// lease has ended before its caller saw it.
func (s *story) ask(a *arguments) (string, error) {
	_, err := s.askFor(a)
	return "", err
}

func (s *story) askFor(a *arguments) (*caller, error) {
	name := a.text("waiter")
	c := s.find(name)
	if c == nil {
		c = &caller{name: name, waiter: &Waiter{Weight: a.number("weight", 1), Once: a.flag("once"), Strict: a.flag("strict"), Slots: s.Config.Slots, MinReplicas: s.Config.MinReplicas, MaxAttempts: s.attempts, Capacity: a.number("capacity", 0), Own: a.number("own", 0)}}
		s.callers = append(s.callers, c)
	} else if c.waiter.inWaitlist {
		return nil, fmt.Errorf("%s waits already", name)
	}
	c.told, c.freed, c.place = false, false, 0
	c.waiter.Done = make(chan struct{})
	c.waiter.Holding = &Holding{Holder: reachable{}, MaxHold: a.duration("max-hold", 0)}
	if wait := a.duration("max-wait", 0); wait > 0 {
		c.waiter.Deadline = s.now.Add(wait)
	}
	s.Ask(s.now, c.waiter)
	return c, nil
}

// hold is ask, depart and reply grant=… in no time: the caller has a lease.
func (s *story) hold(a *arguments) (string, error) { return s.askAndReply(a, true) }

// queue is ask, depart and reply in no time: the caller waits in the queue.
func (s *story) queue(a *arguments) (string, error) { return s.askAndReply(a, false) }

func (s *story) askAndReply(a *arguments, granted bool) (string, error) {
	c, err := s.askFor(a)
	if err != nil {
		return "", err
	}
	batch := s.Depart(s.now, Reading{})
	if batch == nil || c.waiter.grant == nil {
		return "", fmt.Errorf("nothing is asked for %s", c.name)
	}
	s.batches = append(s.batches, batch)
	s.describe(batch) // for its labels
	said := s.answersOf(&arguments{})
	batch.Acknowledged = batch.Replicas
	if granted {
		said.granted[s.label(c.waiter.grant)] = true
	}
	return "", s.answer(batch, said)
}

// leave cancels the wait of a caller.
func (s *story) leave(a *arguments) (string, error) {
	c, err := s.callerOf(a, "waiter")
	if err != nil {
		return "", err
	}
	if !s.Leave(s.now, c.waiter, ReasonCancelled) {
		return fmt.Sprintf("%s does not wait any more\n", c.name), nil
	}
	return "", nil
}

// depart sends what the state wants to send.
func (s *story) depart(*arguments) (string, error) {
	batch := s.Depart(s.now, Reading{})
	if batch == nil {
		return "nothing is sent\n", nil
	}
	s.batches = append(s.batches, batch)
	return s.describe(batch), nil
}

func (s *story) tick(*arguments) (string, error) {
	s.Tick(s.now)
	return "", nil
}

func (s *story) subscribed(*arguments) (string, error) {
	s.Subscribed(s.now)
	return "", nil
}

// release gives back the permit of a caller's lease.
func (s *story) release(a *arguments) (string, error) {
	c, err := s.callerOf(a, "holder")
	if err != nil {
		return "", err
	}
	h := c.waiter.Holding
	if h.Grant == nil {
		return "", fmt.Errorf("%s has no lease", c.name)
	}
	h.Confirmed = make(chan struct{})
	s.Release(s.now, h)
	return "", nil
}

// renewNow demands a renewal at once, as the driver does.
func (s *story) renewNow(*arguments) (string, error) {
	s.RenewAt = s.now
	return "", nil
}

// step tells the state of a step of the server's clock, as the driver does that has found it.
func (s *story) step(a *arguments) (string, error) {
	switch by := a.duration("forward", 0); {
	case by > 0:
		s.Shorten(s.now, by)
	default:
		return "", errors.New("forward=… is missing")
	}
	return "", nil
}

// suspend has the wall clock go on while the monotonic clock stands still, as when a laptop sleeps.
func (s *story) suspend(a *arguments) (string, error) {
	s.now.Wall += a.duration("for", 0)
	return "", nil
}

// reconfigure has the state go by other limits.
func (s *story) reconfigure(a *arguments) (string, error) {
	cfg := *s.Config
	cfg.Capacity = a.number("capacity", cfg.Capacity)
	cfg.TTL = a.duration("ttl", cfg.TTL)
	cfg.Margin = cfg.TTL / 20
	s.Reconfigure(s.now, &cfg)
	return "", nil
}

// close ends everything, as when the manager is closed.
// drain ends all waits, as the manager does when it is shut down.
func (s *story) drain(*arguments) (string, error) {
	s.Drain(s.now)
	return "", nil
}

func (s *story) close(*arguments) (string, error) {
	s.Close(s.now)
	return "", nil
}

func (s *story) find(name string) *caller {
	for _, c := range s.callers {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (s *story) callerOf(a *arguments, key string) (*caller, error) {
	name := a.text(key)
	if c := s.find(name); c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("%s=%s: nobody of this name has asked", key, name)
}
