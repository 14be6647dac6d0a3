package telemetry

import (
	"context"
	"fmt"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// MaxFleet is at how many semaphores a Fleet looks.
const MaxFleet = 1000

// FleetOptions say at what a Fleet looks. The modules document them.
type FleetOptions struct {
	Semaphores []*lease.Semaphore
	Names      []string
	Holders    bool
	Timeout    time.Duration
}

// A Fleet asks Redis about chosen semaphores. Safe for concurrent use: of two who look at the same time, the second
// waits for the first.
type Fleet struct {
	// immutable
	manager  *lease.Manager
	names    []string
	declared map[string]lease.Config // what this process declares
	holders  bool
	timeout  time.Duration

	turn chan struct{} // has one element while somebody looks
}

// NewFleet refuses options that cannot work with a *lease.OptionError.
func NewFleet(m *lease.Manager, opts FleetOptions) (*Fleet, error) {
	bad := func(option string, value any, problem string) (*Fleet, error) {
		return nil, &lease.OptionError{Option: option, Value: value, Problem: problem}
	}
	if m == nil {
		return bad("manager", "nil", "pass the manager that lease.New or lease.Open returned")
	}
	f := &Fleet{manager: m, declared: map[string]lease.Config{}, holders: opts.Holders, timeout: opts.Timeout, turn: make(chan struct{}, 1)}
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			f.names = append(f.names, name)
		}
	}
	for i, s := range opts.Semaphores {
		if s.Name() == "" {
			return bad(fmt.Sprintf("FleetOptions.Semaphores[%d]", i), "nil", "leave it out, or make it with Manager.Semaphore")
		}
		add(s.Name())
		f.declared[s.Name()] = s.Config()
	}
	for i, name := range opts.Names {
		if name == "" {
			return bad(fmt.Sprintf("FleetOptions.Names[%d]", i), "", "leave it out, or name a semaphore")
		}
		add(name)
	}
	switch {
	case len(f.names) == 0:
		return bad("FleetOptions.Names", "", "name the semaphores to look at, or pass Semaphores")
	case len(f.names) > MaxFleet:
		return bad("FleetOptions.Names", len(f.names), fmt.Sprintf("look at %d semaphores at most", MaxFleet))
	case f.timeout < 0:
		return bad("FleetOptions.Timeout", f.timeout, "must be positive; 0 is two seconds")
	case f.timeout == 0:
		f.timeout = 2 * time.Second
	}
	return f, nil
}

// A Point is a value of an instrument for one semaphore.
type Point struct {
	Instrument *Instrument
	Name       string
	Value      float64
}

// Look asks Redis about all names in one pipeline (one for each 200), and about the holders of each name where that is
// wanted. It waits until ctx or the timeout ends. Of a name that Redis has not answered for, there is FleetUp alone, with 0.
//
// A client whose ContextTimeoutEnabled is off may occupy a goroutine for longer. Until that has ended, nobody else looks:
// all that is told is that nothing is known.
func (f *Fleet) Look(ctx context.Context) []Point {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	found := make(chan []Point, 1)
	select {
	case f.turn <- struct{}{}:
		go func() {
			points := f.ask(ctx)
			<-f.turn
			found <- points
		}()
	case <-ctx.Done():
		return f.unknown()
	}
	select {
	case points := <-found:
		return points
	case <-ctx.Done():
		return f.unknown()
	}
}

func (f *Fleet) unknown() []Point {
	points := make([]Point, 0, len(f.names))
	for _, name := range f.names {
		points = append(points, Point{FleetUp, name, 0})
	}
	return points
}

func (f *Fleet) ask(ctx context.Context) []Point {
	all, err := f.manager.Summaries(ctx, f.names...)
	if err != nil {
		return f.unknown()
	}
	points := make([]Point, 0, 10*len(all))
	for _, s := range all {
		if s.Err != nil {
			points = append(points, Point{FleetUp, s.Name, 0})
			continue
		}
		points = f.add(points, &s)
		if f.holders {
			if state, err := f.manager.Inspect(ctx, s.Name); err == nil {
				points = addHolders(points, state)
			}
		}
	}
	return points
}

func (f *Fleet) add(points []Point, s *lease.Summary) []Point {
	oldest := 0.0
	if !s.FirstSince.IsZero() {
		oldest = max(0, s.ServerTime.Sub(s.FirstSince).Seconds())
	}
	points = append(points,
		Point{FleetUp, s.Name, 1},
		Point{FleetPermitUsage, s.Name, float64(s.Held)},
		Point{FleetWaiterCount, s.Name, float64(s.Callers)},
		Point{FleetWaiterOldest, s.Name, oldest},
		Point{FleetWaiterFirst, s.Name, float64(s.FirstWeight)},
		Point{FleetPaused, s.Name, oneIf(s.Paused)},
	)
	own, isDeclared := f.declared[s.Name]
	switch known := s.Resized || s.OtherDeclared > 0; {
	case known:
		points = append(points, Point{FleetPermitLimit, s.Name, float64(s.Capacity)})
	case isDeclared: // nobody has been granted a permit yet
		points = append(points, Point{FleetPermitLimit, s.Name, float64(own.Capacity)})
	}
	if isDeclared {
		differs := s.OtherDeclared > 0 && !s.Resized && (s.OtherDeclared != own.Capacity || s.OtherTTL != own.TTL)
		points = append(points, Point{FleetDisagreement, s.Name, oneIf(differs)})
	}
	return points
}

func addHolders(points []Point, s *lease.State) []Point {
	oldest := 0.0
	for _, h := range s.Holders {
		if !h.AskedAt.IsZero() {
			oldest = max(oldest, s.ServerTime.Sub(h.AskedAt).Seconds())
		}
	}
	return append(points,
		Point{FleetHolderCount, s.Name, float64(len(s.Holders))},
		Point{FleetHolderOldest, s.Name, oldest})
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
