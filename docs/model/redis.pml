/* What Redis holds for one semaphore, and the parts of its scripts. Each script is one step, because Redis runs one at a
   time. All models but replicas.pml use all of it.

   Time passes in ticks. Every time is relative to now, so that a run can be as long as it likes and there are few states. */

#ifndef N
#define N 3             /* ids in use at a time. Each is for one grant. */
#endif
#ifndef CAP
#define CAP 1           /* the semaphore's capacity, in permits */
#endif
#ifndef TTL
#define TTL 3
#endif
#ifndef WEIGHT
#define WEIGHT(x) 1     /* how many permits the id asks for */
#endif

#define None 15         /* in place of an age: no such call or answer is under way */

byte expiry[N];         /* ticks until the permit expires; 0: the sorted set does not have the id */
byte place[N];          /* the place in the queue, the head's is 1; 0: the queue does not have the id */

/* These are used within one step, which clears them in the end. So they add no states. */
byte k, t, first, last, members, trusted, ticks;

inline clear() { k = 0; t = 0; first = 0; last = 0; members = 0; trusted = 0; ticks = 0 }

inline countMembers() {
  members = 0;
  for (k : 0 .. N-1) {
    if :: expiry[k] > 0 -> members = members + WEIGHT(k) :: else fi
  }
}

/* first is N where the queue is empty. */
inline findHead() {
  first = N;
  for (k : 0 .. N-1) {
    if :: place[k] == 1 -> first = k :: else fi
  }
}

inline joinQueue(x) {
  if
  :: place[x] == 0 ->
     last = 0;
     for (k : 0 .. N-1) {
       if :: place[k] > last -> last = place[k] :: else fi
     }
     place[x] = last + 1
  :: else
  fi
}

inline leaveQueue(x) {
  if
  :: place[x] > 0 ->
     last = place[x];
     place[x] = 0;
     for (k : 0 .. N-1) {
       if :: place[k] > last -> place[k] = place[k] - 1 :: else fi
     }
  :: else
  fi
}

/* A script only raises an expiry (ZADD GT). */
inline raise(x, upTo) {
#ifdef BROKEN_LOWERED_EXPIRY
  expiry[x] = upTo
#else
  if :: expiry[x] < upTo -> expiry[x] = upTo :: else fi
#endif
}
