package telemetry

import (
	"sync"
	"sync/atomic"
)

// MaxNames is how many names of semaphores a tracer tells apart by itself.
const MaxNames = 100

// OtherNames is what all further names are told as.
const OtherNames = "_other"

// ByName has one T for each name that a tracer tells apart. Without a hook these are the first MaxNames, and OtherNames for
// all others. A hook maps each name to the one that it is told as, and bounds them itself; it must return the same each
// time. Safe for concurrent use; what exists already is found without a lock.
type ByName[T any] struct {
	hook func(string) string
	make func(name string) *T

	known sync.Map // *T by name
	full  atomic.Bool

	mu sync.Mutex
	n  int
}

// NewByName has of make a T when its name is first asked for. hook may be nil.
func NewByName[T any](hook func(string) string, make func(name string) *T) *ByName[T] {
	return &ByName[T]{hook: hook, make: make}
}

// Of returns the T of the semaphore's name.
func (b *ByName[T]) Of(name string) *T {
	if b.hook != nil {
		name = b.hook(name)
	}
	if one, is := b.known.Load(name); is {
		return one.(*T)
	}
	if b.full.Load() {
		one, _ := b.known.Load(OtherNames)
		return one.(*T)
	}
	return b.add(name)
}

func (b *ByName[T]) add(name string) *T {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one, is := b.known.Load(name); is { // another goroutine was quicker
		return one.(*T)
	}
	full := b.hook == nil && b.n >= MaxNames
	if full {
		name = OtherNames
		if one, is := b.known.Load(name); is {
			return one.(*T)
		}
	}
	b.n++
	one := b.make(name)
	b.known.Store(name, one)
	b.full.Store(full)
	return one
}
