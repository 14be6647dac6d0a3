package scripts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const slotsKey = "{passbuddy-x}:slots"

// runWithSlots is run for a caller with Config.Slots.
func (s *scriptTest) runWithSlots(v Verb, capacity int, args ...any) []int64 {
	s.Helper()
	all := KeysOf("passbuddy", "x", 10*second, capacity).Command(nil, v, true, false, true)
	cmd := redis.NewIntSliceCmd(context.Background(), append(all, args...)...)
	if err := s.client.Process(context.Background(), cmd); err != nil {
		s.Fatal(err)
	}
	return cmd.Val()
}

// take acquires ids, which are granted with these slots; nil: it is refused, and waits with wait.
func (s *scriptTest) take(capacity int, wait bool, ids []any, want ...[]int) {
	s.Helper()
	args := []any{0, 2, 0}
	for i, id := range ids {
		if wait {
			args = append(args, id, len(ids)-i)
		} else {
			args = append(args, id, "")
		}
	}
	s.mustHaveSlots(s.runWithSlots(Acquire, capacity, args...), ids, want...)
}

func (s *scriptTest) mustHaveSlots(reply []int64, ids []any, want ...[]int) {
	s.Helper()
	weight := func(i int) int {
		_, n, _ := strings.Cut(ids[i].(string), "#")
		w := 1
		_, _ = fmt.Sscan(n, &w)
		return w
	}
	a, err := AcquireReply(reply, len(ids), weight)
	if err != nil {
		s.Fatal(err)
	}
	for i := range ids {
		var got []int
		if a.Answer(i).Expiry > 0 {
			got = a.NextSlots(weight(i))
		}
		if !slices.Equal(got, want[i]) {
			s.Errorf("%v has the slots %v, want %v", ids[i], got, want[i])
		}
	}
}

func TestSlotsAreTheSmallestThatAreFree(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		heavy := my(3) + "#3"
		s.take(8, false, []any{my(1), my(2)}, []int{0}, []int{1})
		s.take(8, false, []any{heavy}, []int{2, 3, 4})
		s.take(8, false, []any{your(1)}, []int{5})
		s.release(8, my(1))
		s.release(8, heavy)
		s.take(8, false, []any{your(2) + "#5", your(3)}, []int{0, 2, 3, 4, 6}, []int{7})
		s.take(8, false, []any{your(4)}, nil)
		if left := s.client.PTTL(context.Background(), slotsKey).Val(); left < 24*time.Hour {
			s.Errorf("slots live for %v more", left)
		}
	})
}

func TestAnIDThatIsGrantedAgainKeepsItsSlots(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		heavy := my(2) + "#2"
		s.take(5, false, []any{my(1)}, []int{0})
		s.take(5, false, []any{heavy}, []int{1, 2})
		s.release(5, my(1))
		s.take(5, false, []any{heavy}, []int{1, 2})                 // its reply was lost
		s.take(5, true, []any{heavy, my(3)}, []int{1, 2}, []int{0}) // a poll
		anew := s.runWithSlots(Acquire, 2, 0, 2, 0, heavy, "=")     // beyond a capacity that has shrunk
		s.mustHaveSlots(anew, []any{heavy}, []int{1, 2})
	})
}

func TestASlotIsFreeWhenItsPermitHasExpiredAndNotWhileItIsRevoked(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.take(4, false, []any{my(1), my(2) + "#2"}, []int{0}, []int{1, 2})
		s.operate(Revoke, 4, my(2)+"#2")
		s.put(my(1), 1) // its time is over
		s.take(4, false, []any{your(1)}, []int{0})
		s.take(4, false, []any{your(2)}, []int{3})
		s.release(4, my(2)+"#2") // what was revoked
		s.take(4, false, []any{your(3)}, []int{1})
	})
}

// A member that got another slot than it had before it expired has only that.
func TestAnIDThatIsGrantedAfterItsTimeHasOneSlot(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.take(2, false, []any{my(1), my(2)}, []int{0}, []int{1})
		s.put(my(2), 1) // its time is over
		s.release(2, my(1))
		s.take(2, false, []any{my(2)}, []int{0})
		s.take(2, false, []any{my(3)}, []int{1})
		s.mustHaveSlots(s.runWithSlots(Acquire, 2, 0, 2, 0, my(2), "="), []any{my(2)}, []int{0})
	})
}

func TestSlotsStayBelowACapacityThatHasShrunk(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		for i := range 6 {
			s.take(6, false, []any{my(i)}, []int{i})
		}
		for _, i := range []int{0, 2, 4} {
			s.release(6, my(i))
		}
		s.take(2, false, []any{your(1)}, nil) // three are held
		s.release(6, my(3))
		s.release(6, my(1))
		s.take(2, false, []any{your(1)}, []int{0}) // 5 is held beyond it
	})
}

func TestAPromotionTellsTheSlots(t *testing.T) {
	for verb, promote := range map[string]func(*scriptTest, int){
		"release": func(s *scriptTest, n int) { s.runWithSlots(Release, 3, 2) },
		"acquire": func(s *scriptTest, n int) { s.take(3, false, []any{my(9)}, nil) },
		"resize":  func(s *scriptTest, n int) { s.operate(Resize, 3, ResizeArguments(3, "op", "")...) },
	} {
		t.Run(verb, func(t *testing.T) {
			onEach(t, func(s *scriptTest) {
				inbox := s.channelOf("you~2")
				s.take(3, false, []any{my(1), my(2), my(3)}, []int{0}, []int{1}, []int{2})
				s.take(3, true, []any{your(1) + "#2"}, nil)
				s.client.ZRem(context.Background(), s.holders, my(1), my(3))
				promote(s, 3)
				if n := s.mustHear(inbox); n.ID != your(1)+"#2" || !slices.Equal(n.Slots, []int{0, 2}) {
					s.Errorf("heard %+v", n)
				}
				s.release(3, your(1)+"#2")
				s.release(3, my(9))
				s.take(3, true, []any{your(2) + "#2", your(3)}, []int{0, 2}, nil)
				s.client.ZRem(context.Background(), s.holders, my(2))
				promote(s, 3) // with one permit that is free for one who waits
				if n := s.mustHear(inbox); n.ID != your(3) || !slices.Equal(n.Slots, []int{1}) {
					s.Errorf("heard %+v", n)
				}
				state, err := InspectReply(s.operate(Inspect, 3, InspectArguments(0, 0, 10)...))
				if err != nil || state.Slots[your(2)+"#2,2"] != 2 || state.Slots[your(3)] != 1 {
					s.Errorf("inspect says %+v (%v)", state, err)
				}
			})
		})
	}
}

// Who knows of no slots gives permits without them: their owner asks again.
func TestWhoIsPromotedWithoutSlotsGetsThemWhenItAsksAgain(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		inbox := s.channelOf("you~2")
		s.take(1, false, []any{my(1)}, []int{0})
		s.take(1, true, []any{your(1)}, nil)
		s.release(1, my(1)) // with the hot path of a promotion
		if n := s.mustHear(inbox); n.ID != your(1) || n.Slots != nil {
			s.Errorf("heard %+v", n)
		}
		s.take(1, true, []any{your(1)}, []int{0})
	})
}

func TestAThousandSlots(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		var ids []any
		var want [][]int
		for i := range maxIDs {
			ids, want = append(ids, fmt.Sprintf("%08d-0000-7000-8000-000000000000@me~1", i)), append(want, []int{i})
		}
		s.take(1000, false, ids, want...)
		s.take(1000, false, []any{my(1) + "#499"}, numbers(500, 999))
		s.take(1000, false, []any{my(2)}, []int{999})
		s.take(1000, false, []any{my(3)}, nil)
	})
}

// More than the stack of Lua takes, after a Resize by name.
func TestManySlots(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		fields, holders := map[string]any{}, []redis.Z{}
		for i := range 5000 {
			name := fmt.Sprintf("%08d-0000-7000-8000-000000000000@me~1", i)
			fields[fmt.Sprint(i)] = name
			holders = append(holders, redis.Z{Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: name})
		}
		ctx := context.Background()
		if err := s.client.HSet(ctx, slotsKey, fields).Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.client.ZAdd(ctx, s.holders, holders...).Err(); err != nil {
			t.Fatal(err)
		}
		s.take(6000, false, []any{my(1)}, []int{5000})
	})
}

func numbers(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

func TestANotificationOfSlotsThatMakesNoSense(t *testing.T) {
	for _, bad := range []string{"grant=", "grant=x", "grant=-1", "grant=1,", "grant=1,x", "=1", "grants"} {
		if n, ok := ParseNotification(bad + " 1 2 3 id@me~1 passbuddy-x"); ok {
			t.Errorf("%q is read as %+v", bad, n)
		}
	}
	n, ok := ParseNotification("grant=0,12 1 2 3 id:a job@me~1 passbuddy-an x")
	if !ok || !slices.Equal(n.Slots, []int{0, 12}) || n.ID != "id:a job@me~1" || n.Holders != "passbuddy-an x" {
		t.Errorf("read as %+v, %v", n, ok)
	}
}
