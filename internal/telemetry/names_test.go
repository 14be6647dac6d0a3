package telemetry

import (
	"fmt"
	"sync"
	"testing"
)

func TestTheFirstNamesAreToldApart(t *testing.T) {
	b := NewByName(nil, func(name string) *string { return &name })
	for range 2 {
		for i := range 3 * MaxNames {
			name := fmt.Sprint("tenant", i)
			want := name
			if i >= MaxNames {
				want = OtherNames
			}
			if got := *b.Of(name); got != want {
				t.Fatalf("%s is told as %s, want %s", name, got, want)
			}
		}
	}
}

func TestAHookBoundsTheNamesByItself(t *testing.T) {
	b := NewByName(func(name string) string { return name[:6] }, func(name string) *string { return &name })
	one, same := b.Of("tenant1"), b.Of("tenant2")
	if one != same || *one != "tenant" {
		t.Errorf("two tenants are told as %s and %s", *one, *same)
	}
	wide := NewByName(func(name string) string { return name }, func(name string) *string { return &name })
	for i := range 2 * MaxNames {
		if name := fmt.Sprint(i); *wide.Of(name) != name {
			t.Fatalf("%s is told as %s", name, *wide.Of(name))
		}
	}
}

func TestEachNameIsMadeOnceAlsoWhenManyAskAtOnce(t *testing.T) {
	var mu sync.Mutex
	made := map[string]int{}
	b := NewByName(nil, func(name string) *string {
		mu.Lock()
		defer mu.Unlock()
		made[name]++
		return &name
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 2 * MaxNames {
				b.Of(fmt.Sprint(i))
			}
		})
	}
	all.Wait()
	if len(made) != MaxNames+1 {
		t.Errorf("%d names are told apart", len(made))
	}
	for name, n := range made {
		if n != 1 {
			t.Errorf("%s was made %d times", name, n)
		}
	}
}
