/* A release is a ZREM and a second call, which promotes, or only looks whether somebody waits. How long can a caller wait
   while a permit is unused?

   The network is quick: what is under way arrives before the next tick, or it is lost. All processes do in time what is due,
   and renew what they hold. A few messages are lost, and a few processes crash. Each such fault may cost the waiters some
   time, and nothing else may. */

#ifndef POLL
#define POLL 1                  /* ticks between two polls (RetryInterval) */
#endif
#ifndef FAULTS
#define FAULTS 2                /* in a run */
#endif

#include "redis.pml"

/* A lost message costs the time until the next poll, or the next attempt. A crash costs the time until the permit has
   expired and somebody polls. */
#ifndef COST_OF_LOSS
#define COST_OF_LOSS POLL
#endif
#ifdef WITH_CRASHES_BETWEEN_CALLS
#define COST_OF_CRASH POLL      /* processes crash between the two calls only: the permit is free, and a poll promotes */
#endif
#ifndef COST_OF_CRASH
#define COST_OF_CRASH (TTL + POLL - 1)
#endif

/* The life of an id. */
#define Fresh 0                 /* nobody has used it */
#define Asked 1                 /* a caller waits for a permit under it */
#define Held 2                  /* a lease has it */
#define Releasing 3             /* its lease has ended */
#define Crashed 4               /* its process has forgotten it, or is gone */

/* Where a release is. */
#define Nowhere 0
#define RemoveAndLook 1         /* the ZREM is under way, and EXISTS of the queue behind it */
#define RemoveAndPromote 2      /* the ZREM is under way, and release.lua behind it */
#define Look 3                  /* Redis has run the ZREM; EXISTS is next */
#define Promote 4               /* Redis has run the ZREM; release.lua is next */
#define SomebodyWaits 5         /* so says the answer, which is under way */
#define AllDone 6               /* so says the answer: Redis has promoted, or nobody waits */
#define NoAnswer 7              /* a call was lost, or its answer */
#define TryAgain 8              /* a tick later the process sends the release again */
#define LookedNobody 9          /* in a broken variant: Redis has run EXISTS; the ZREM is next */
#define LookedSomebody 10

byte phase[N];
byte step[N];                   /* of the release */
byte alive[N];                  /* for how many ticks Redis takes the waiter's process to live */
byte pollIn[N];                 /* in how many ticks the waiter polls */
bit request[N];                 /* an acquire is under way */
bit answer[N];                  /* its answer is under way, and says that the id is granted */
bit notice[N];                  /* a notification is under way, and says the same */

byte faults;                    /* so far */
byte allowed;                   /* how many ticks these may cost */
byte unused;                    /* for how many ticks somebody has waited while a permit was unused */

/* Ends a step: an id that a crash has left behind becomes a new one when Redis does not have it any more. */
inline tidy() {
  for (k : 0 .. N-1) {
    if
    :: phase[k] == Crashed && expiry[k] == 0 && place[k] == 0 && step[k] == Nowhere && !request[k] ->
       phase[k] = Fresh; alive[k] = 0
    :: else
    fi
  }
  clear()
}

inline fault(cost) {
  faults = faults + 1;
  allowed = allowed + cost
}

/* A call of the release is lost, or its answer. */
inline loseStep(x) {
  if
  :: phase[x] == Crashed -> step[x] = Nowhere
#ifdef BROKEN_NO_SECOND_TRY
  :: phase[x] != Crashed -> phase[x] = Crashed; step[x] = Nowhere
#else
  :: phase[x] != Crashed -> step[x] = NoAnswer
#endif
  fi
}

inline crash(x) {
  phase[x] = Crashed;
  answer[x] = 0;
  notice[x] = 0;
  pollIn[x] = 0
}

/* The release has been answered, or its process has crashed. */
inline endRelease(x) {
  step[x] = Nowhere;
  if :: phase[x] == Releasing -> phase[x] = Fresh :: else fi
}

/* A head whose process is dead leaves the queue. Another's permit expires when its process is known to live no longer. */
inline promote() {
  do
  :: findHead();
     countMembers();
     if
     :: first < N && alive[first] == 0 -> leaveQueue(first)
     :: first < N && alive[first] > 0 && members < CAP ->
        leaveQueue(first);
        expiry[first] = alive[first];
        if :: phase[first] == Asked -> notice[first] = 1 :: else fi
     :: else -> break
     fi
  od
}

#ifdef BROKEN_NO_POLL           /* who is in the queue does not poll */
#define IS_DUE(x) (phase[x] == Asked && pollIn[x] == 0 && place[x] == 0)
#else
#define IS_DUE(x) (phase[x] == Asked && pollIn[x] == 0)
#endif
#define MAY_FAIL (faults < FAULTS)
#ifdef WITH_CRASHES_BETWEEN_CALLS
#define MAY_CRASH(x) (MAY_FAIL && (step[x] == Look || step[x] == Promote))
#else
#define MAY_CRASH(x) (MAY_FAIL && (phase[x] == Asked || phase[x] == Held || phase[x] == Releasing))
#endif

#define me _pid
#define BEFORE ((me + N - 1) % N)

active [N] proctype Id() {
end:
  do
  :: d_step { phase[me] == Fresh && (me == 0 || phase[BEFORE] != Fresh) ->
       printf("id %d: a caller asks for a permit\n", me);
       phase[me] = Asked; request[me] = 1; pollIn[me] = POLL }
  :: d_step { IS_DUE(me) ->
       printf("id %d: the waiter polls\n", me);
       request[me] = 1; pollIn[me] = POLL }

  /* Redis runs acquire. */
  :: d_step { request[me] ->
       printf("id %d: Redis runs acquire\n", me);
       request[me] = 0;
       if
       :: expiry[me] > 0 -> raise(me, TTL)
#ifdef BROKEN_POLL_WITHOUT_PROMOTION
       :: expiry[me] == 0 && place[me] > 0 -> alive[me] = TTL
       :: expiry[me] == 0 && place[me] == 0 -> alive[me] = TTL; joinQueue(me); promote()
       fi;
#else
       :: expiry[me] == 0 -> alive[me] = TTL; joinQueue(me)
       fi;
       promote();
#endif
       if :: expiry[me] > 0 && phase[me] == Asked -> answer[me] = 1; notice[me] = 0 :: else fi;
       tidy() }

  :: d_step { phase[me] == Asked && (answer[me] || notice[me]) ->
       printf("id %d: the answer arrives, or the notification: the lease begins\n", me);
       phase[me] = Held; answer[me] = 0; notice[me] = 0; request[me] = 0; alive[me] = 0; pollIn[me] = 0 }

  /* The holder releases. What its process believes about waiters elsewhere may be right or wrong. */
#ifdef BROKEN_REMOVE_ONLY
  :: d_step { phase[me] == Held ->
       printf("id %d: the holder releases; Redis runs the ZREM, and no call follows\n", me);
       phase[me] = Fresh; expiry[me] = 0 }
#else
  :: d_step { phase[me] == Held ->
       printf("id %d: the holder releases; its process believes that nobody waits\n", me);
       phase[me] = Releasing; step[me] = RemoveAndLook }
  :: d_step { phase[me] == Held ->
       printf("id %d: the holder releases\n", me);
       phase[me] = Releasing; step[me] = RemoveAndPromote }
#endif

  /* Redis runs the two calls, and may run others between them. */
#ifdef BROKEN_LOOK_FIRST
  :: d_step { step[me] == RemoveAndLook ->
       printf("id %d: Redis runs EXISTS\n", me);
       findHead();
       step[me] = ((first == N) -> LookedNobody : LookedSomebody);
       tidy() }
  :: d_step { step[me] == LookedNobody || step[me] == LookedSomebody ->
       printf("id %d: Redis runs the ZREM\n", me);
       expiry[me] = 0;
       step[me] = ((step[me] == LookedNobody) -> AllDone : SomebodyWaits);
       tidy() }
#else
  :: d_step { step[me] == RemoveAndLook ->
       printf("id %d: Redis runs the ZREM\n", me);
       expiry[me] = 0; step[me] = Look }
#endif
  :: d_step { step[me] == Look ->
       printf("id %d: Redis runs EXISTS\n", me);
       findHead();
       step[me] = ((first == N) -> AllDone : SomebodyWaits);
       tidy() }
  :: d_step { step[me] == RemoveAndPromote ->
       printf("id %d: Redis runs the ZREM\n", me);
       expiry[me] = 0; step[me] = Promote }
  :: d_step { step[me] == Promote ->
       printf("id %d: Redis runs release.lua, which promotes\n", me);
       promote(); step[me] = AllDone; tidy() }

  /* The answer arrives. */
  :: d_step { step[me] == SomebodyWaits ->
       printf("id %d: the answer to the release arrives: somebody waits\n", me);
#ifdef BROKEN_LOOK_ONLY
       endRelease(me);
#else
       if :: phase[me] == Releasing -> step[me] = Promote :: else -> endRelease(me) fi;
#endif
       tidy() }
  :: d_step { step[me] == AllDone ->
       printf("id %d: the answer to the release arrives\n", me);
       endRelease(me); tidy() }
  :: d_step { step[me] == TryAgain ->
       printf("id %d: the process sends the release again\n", me);
       step[me] = RemoveAndPromote }

  /* Faults. When a process crashes, its calls may be under way, or not. */
  :: d_step { MAY_FAIL && request[me] ->
       printf("id %d: the acquire is lost\n", me);
       request[me] = 0; fault(COST_OF_LOSS); tidy() }
  :: d_step { MAY_FAIL && answer[me] ->
       printf("id %d: the answer to the acquire is lost\n", me);
       answer[me] = 0; fault(COST_OF_LOSS) }
  :: d_step { MAY_FAIL && notice[me] ->
       printf("id %d: the notification is lost\n", me);
       notice[me] = 0; fault(COST_OF_LOSS) }
  :: d_step { MAY_FAIL && step[me] != Nowhere && step[me] != NoAnswer && step[me] != TryAgain ->
       printf("id %d: the rest of the release is lost, or its answer\n", me);
       loseStep(me); fault(COST_OF_LOSS); tidy() }
  :: d_step { MAY_CRASH(me) ->
       printf("id %d: the process crashes; what it has sent is under way\n", me);
       crash(me); fault(COST_OF_CRASH);
       if :: step[me] == NoAnswer || step[me] == TryAgain -> step[me] = Nowhere :: else fi;
       tidy() }
  :: d_step { MAY_CRASH(me) ->
       printf("id %d: the process crashes; what it has sent is lost\n", me);
       crash(me); fault(COST_OF_CRASH);
       request[me] = 0; step[me] = Nowhere;
       tidy() }
  od
}

/* Time passes when nothing is under way and nothing is due. */
#define IS_QUIET(x) (!request[x] && !answer[x] && !notice[x] && (step[x] == Nowhere || step[x] == NoAnswer) && !IS_DUE(x))
#if N == 2
#define ALL_ARE_QUIET (IS_QUIET(0) && IS_QUIET(1))
#elif N == 3
#define ALL_ARE_QUIET (IS_QUIET(0) && IS_QUIET(1) && IS_QUIET(2))
#elif N == 4
#define ALL_ARE_QUIET (IS_QUIET(0) && IS_QUIET(1) && IS_QUIET(2) && IS_QUIET(3))
#else
#error N is 2, 3 or 4
#endif

active proctype Clock() {
end:
  do
  :: d_step { ALL_ARE_QUIET ->
       printf("        a tick passes\n");
       members = 0;             /* leases whose processes live */
       last = 0;                /* 1: somebody waits */
       for (t : 0 .. N-1) {
         if
         :: phase[t] == Held -> members++
         :: phase[t] == Asked -> last = 1
         :: else
         fi
       }
       if :: members < CAP && last == 1 -> unused++ :: else -> unused = 0 fi;
       /* The promise: nobody waits while a permit is unused, but for as long as the faults may cost. So no permit leaks, and
          no waiter is forgotten. */
       assert(unused <= allowed);
       for (t : 0 .. N-1) {
         if
         :: phase[t] == Held -> expiry[t] = TTL
#ifndef BROKEN_NO_EXPIRY
         :: phase[t] != Held && expiry[t] > 0 -> expiry[t]--
#endif
         :: else
         fi;
         if :: place[t] > 0 && alive[t] > 0 -> alive[t]-- :: else fi;
         if :: phase[t] == Asked && pollIn[t] > 0 -> pollIn[t]-- :: else fi;
         if :: step[t] == NoAnswer -> step[t] = TryAgain :: else fi
       }
       tidy() }
  od
}
