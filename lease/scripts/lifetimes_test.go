package scripts

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// How long Redis keeps the keys of a semaphore.

func TestAcquireScriptGivesItsKeysADay(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(10*second, 3, 0, "a")
		for _, key := range []string{s.holders, s.fence} {
			if ttl := s.client.PTTL(ctx, key).Val(); ttl < 24*time.Hour {
				t.Errorf("%s lives for %v", key, ttl)
			}
		}
		// An hour later they are refreshed.
		hourAgo := time.Now().Add(-time.Hour).UnixMicro()
		s.client.Set(ctx, s.fence, hourAgo, time.Minute)
		s.client.PExpire(ctx, s.holders, time.Minute)
		s.acquire(10*second, 3, 0, "b")
		for _, key := range []string{s.holders, s.fence} {
			if ttl := s.client.PTTL(ctx, key).Val(); ttl < 24*time.Hour {
				t.Errorf("%s lives for %v after an hour", key, ttl)
			}
		}
	})
}

func TestReleaseScriptGivesItsKeysADay(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(10*second, 2, 0, "a", "b")
		s.poll(10*second, 2, my(1), 0)
		s.client.Set(ctx, s.fence, fmt.Sprintf("%d 2 10000", time.Now().Add(-time.Hour).UnixMicro()), time.Minute)
		s.client.PExpire(ctx, s.holders, time.Minute)
		s.release(2, "a")
		for _, key := range []string{s.holders, s.fence} {
			if ttl := s.client.PTTL(ctx, key).Val(); ttl < 24*time.Hour {
				t.Errorf("%s lives for %v after an hour", key, ttl)
			}
		}
	})
}

func TestScriptsGiveTheQueueTwoTTLs(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(10*second, 1, 0, "a")
		for range 2 { // the second finds its process alive from before
			s.wait(10*second, 1, my(1))
			for _, key := range []string{s.queue, s.alive} {
				if ttl := s.client.PTTL(ctx, key).Val(); ttl < 19*second || ttl > 20*second {
					t.Errorf("%s lives for %v", key, ttl)
				}
			}
			s.release(1, my(1))
		}
	})
}

func TestNoScriptShortensANeighboursKeys(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(60*second, 1, 0, "a")
		s.run(Acquire, 60*second, 1, 0, 1, 0, your(1), 1000)
		s.run(Acquire, second, 1, 0, 1, 0, my(1), 1000)
		s.renew(second, "a")
		s.run(Release, second, 1, 3, my(1))
		for key, least := range map[string]time.Duration{s.queue: 119 * second, s.alive: 119 * second, s.holders: 24 * time.Hour, s.fence: 24 * time.Hour} {
			if ttl := s.client.PTTL(ctx, key).Val(); ttl < least {
				t.Errorf("%s lives for %v, want %v", key, ttl, least)
			}
		}
	})
}
