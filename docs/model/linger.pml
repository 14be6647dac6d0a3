/* Hand-over and Linger: a lease begins on a permit that its process has already, and Redis is not asked. Can a waiter in
   another process be passed over for longer than is promised? Do tokens grow?

   A process has one id or more. When a holder releases, its permit can serve the next caller of the process in two ways.
   Hand-over: callers wait there, and the grant is a moment old. Linger: nobody waits there, and the permit stays, idle,
   until a caller reuses it, as long as the process may believe that nobody waits elsewhere.

   The network is the adversary of lease.pml. The model leaves out what changes nothing here: notifications (a waiter learns
   from its poll that it was promoted), margins, weights, and releases while an acquire may still run. */

#include "redis.pml"

#ifndef P
#define P 2                     /* processes */
#endif
#define PROCESS(x) ((x) % P)    /* that the id belongs to */
#ifndef LINGER
#define LINGER 2                /* Config.Linger, in ticks */
#endif
#ifdef WITHOUT_HANDOVER
#define HANDOVER 0              /* Config.Handover, in ticks */
#else
#define HANDOVER 1
#endif

/* WITH_LATE_TIMERS: a process that is slow gives idle permits back late. It looks at the clock before it reuses one. */

/* The life of an id. */
#define Fresh 0                 /* nobody has used it */
#define Asked 1                 /* a caller waits for a permit under it */
#define Held 2                  /* a lease has it */
#define Idle 3                  /* it lingers: its lease has ended, and the next caller may have it */
#define Over 4                  /* the process gives the permit back, or the wait has ended */

byte phase[N];
byte window[N];                 /* ticks for which the process trusts the permit */
byte age[N];                    /* of the grant: ticks since its call was sent, at most HANDOVER */
byte acquire[N] = None;         /* the age of an acquire that Redis may still run: 0, because it refuses an older one */
byte again[N] = None;           /* the age of a call that has a held permit granted anew; likewise */
byte renewal[N] = None;         /* the age of the latest renewal */
byte answer[N];                 /* the longest window that an answer brings, if it arrives now */
byte waited[N];                 /* for how many ticks the id has been in the queue, at most LINGER */
byte headFor;                   /* for how many ticks the head of the queue has been passed over, at most HANDOVER */

byte quietFor[P];               /* for how many ticks the process may reuse permits */
byte busy[P] = LINGER;          /* the age of the latest call whose answer said: somebody waits; at most LINGER */
byte saysQuiet[P] = None;       /* an answer under way says: nobody waits. The age of its call, the latest of them */
byte saysBusy[P] = None;        /* an answer under way says: somebody waits. Likewise */

/* A lease's token is that of the grant, and then the number of leases that had the grant before. A run has only so many. */
#ifdef WITH_TOKENS
#ifndef LAST_TOKEN
#define LAST_TOKEN 4
#endif
#ifndef LAST_LEASE
#define LAST_LEASE 2
#endif
byte fence;                     /* the latest token that Redis has given out */
byte offered[N];                /* the token in the answer that is under way */
byte token[N], lease[N];        /* of the permit that the process has */
byte latestToken, latestLease;  /* of the lease that began last */
#define HAS_TOKENS(x) (lease[x] < LAST_LEASE)
#define REDIS_HAS_TOKENS (fence < LAST_TOKEN)
#else
#define HAS_TOKENS(x) true
#define REDIS_HAS_TOKENS true
#endif

#ifdef BROKEN_AGAIN_ADDS
#define IS_DONE_WITH(x) (phase[x] == Over && expiry[x] == 0 && place[x] == 0 && acquire[x] == None && again[x] == None)
#else
#define IS_DONE_WITH(x) (phase[x] == Over && expiry[x] == 0 && place[x] == 0 && acquire[x] == None)
#endif
#define HAS_PERMIT(x) (phase[x] == Held || phase[x] == Idle)

/* Drops what can change nothing any more, which saves states: an answer that nobody waits, by which the process may reuse for
   no longer than it may already; an answer that somebody waits, when the process may not reuse anyway; and the age of such
   an answer, when no older answer can arrive. */
inline dropUseless(p) {
  if :: saysQuiet[p] != None && LINGER - saysQuiet[p] <= quietFor[p] -> saysQuiet[p] = None :: else fi;
  if :: saysQuiet[p] == None && quietFor[p] == 0 -> saysBusy[p] = None :: else fi;
  if
  :: (saysQuiet[p] == None || saysQuiet[p] <= busy[p]) && (quietFor[p] == 0 || LINGER - quietFor[p] <= busy[p]) ->
     busy[p] = LINGER
  :: else
  fi
}

/* Ends a step, as in lease.pml: the trusted permits are no more than the capacity, and neither are the members. */
inline check() {
  trusted = 0;
  for (k : 0 .. N-1) {
    if :: window[k] > 0 -> trusted = trusted + 1 :: else fi;
    if :: place[k] == 0 -> waited[k] = 0 :: else fi;
    if
    :: IS_DONE_WITH(k) -> phase[k] = Fresh; again[k] = None; renewal[k] = None
    :: else
    fi
  }
  assert(trusted <= CAP);
  countMembers();
  assert(members <= CAP);
  findHead();
  if :: first == N -> headFor = 0 :: else fi;
  for (k : 0 .. P-1) { dropUseless(k) }
  clear()
}

/* The permit goes back, or the wait ends. */
inline finish(x) {
  phase[x] = Over;
  window[x] = 0;
  answer[x] = 0;
  age[x] = 0;
  if :: renewal[x] != None -> renewal[x] = TTL :: else fi;
#ifdef WITH_TOKENS
  token[x] = 0; lease[x] = 0; offered[x] = 0;
#endif
  skip
}

inline endLingering(p) {
  for (k : 0 .. N-1) {
    if :: phase[k] == Idle && PROCESS(k) == p -> finish(k) :: else fi
  }
}

/* Tokens grow. (With more permits than one, leases may begin in another order than their tokens have.) */
inline beginLease(x) {
  phase[x] = Held;
#ifdef WITH_TOKENS
  assert(token[x] > latestToken || token[x] == latestToken && lease[x] > latestLease);
  latestToken = token[x];
  latestLease = lease[x];
#endif
  skip
}

inline beginNextLease(x) {
#if defined(WITH_TOKENS) && !defined(BROKEN_SAME_TOKEN)
  lease[x] = lease[x] + 1;
#endif
  beginLease(x)
}

inline promote() {
  do
  :: findHead();
     countMembers();
     if
     :: first < N && members < CAP && REDIS_HAS_TOKENS ->
        leaveQueue(first);
        headFor = 0;
        expiry[first] = TTL;
#ifdef WITH_TOKENS
        fence = fence + 1;
#endif
     :: else -> break
     fi
  od
}

/* Redis grants the id, for the first time or again, and answers a call of that age. */
inline grant(x, old) {
  raise(x, TTL);
  if :: TTL > old && answer[x] < TTL - old -> answer[x] = TTL - old :: else fi;
#ifdef WITH_TOKENS
  fence = fence + 1;
  /* Of several answers to a waiter, the one with the smallest token is the worst. */
  if :: offered[x] == 0 || phase[x] != Asked -> offered[x] = fence :: else fi;
#endif
  skip
}

/* The answer to an acquire also says whether somebody waits. In the model that is an answer of its own. */
inline sayWhetherSomebodyWaits(p, old) {
  findHead();
  if
  :: first == N -> if :: saysQuiet[p] > old -> saysQuiet[p] = old :: else fi
  :: else ->
#ifndef WITHOUT_BUSY_ANSWERS
     if :: saysBusy[p] > old -> saysBusy[p] = old :: else fi;
#endif
     skip
  fi
}

/* Whether the process of id x has an id in that phase. */
#if N == 2
#define HAS_ONE(x, ph) (phase[x] == ph)
#elif N <= 4
#define HAS_ONE(x, ph) (phase[x] == ph || PROCESS(((x) + P) % N) == PROCESS(x) && phase[((x) + P) % N] == ph || \
  PROCESS(((x) + N - P) % N) == PROCESS(x) && phase[((x) + N - P) % N] == ph)
#else
#error N is at most 4
#endif

#define me _pid

active [N] proctype Id() {
end:
  do
  /* A caller asks. Only if its process has no idle permit does the process ask Redis. */
  :: d_step { phase[me] == Fresh && !HAS_ONE(me, Idle) ->
       printf("id %d of process %d: a caller asks for a permit\n", me, PROCESS(me));
       phase[me] = Asked; acquire[me] = 0 }
  :: d_step { phase[me] == Asked && acquire[me] > 0 ->
       printf("id %d of process %d: the waiter polls\n", me, PROCESS(me));
       acquire[me] = 0 }
  :: d_step { phase[me] != Fresh && phase[me] != Over ->
       printf("id %d of process %d: the permit goes back, or the wait ends\n", me, PROCESS(me));
       finish(me); check() }

  /* Hand-over. The head of the queue, if it is in another process, has not been passed over for as long as Handover. */
  :: d_step {
#ifdef BROKEN_HANDOVER_WITHOUT_END
       phase[me] == Held && HAS_TOKENS(me) && HANDOVER > 0 ->
#else
       phase[me] == Held && HAS_TOKENS(me) && age[me] < HANDOVER ->
#endif
       printf("id %d of process %d: the holder releases, and a caller that waits there gets the permit\n", me, PROCESS(me));
       findHead();
       assert(first == N || PROCESS(first) == PROCESS(me) || headFor < HANDOVER);
       beginNextLease(me);
       check() }

  /* Linger. */
  :: d_step { phase[me] == Held && quietFor[PROCESS(me)] > 0 && !HAS_ONE(me, Asked) ->
       printf("id %d of process %d: the holder releases, and the permit lingers\n", me, PROCESS(me));
       phase[me] = Idle }

  /* Nobody in another process has been in the queue for as long as Linger. And if an answer has said that somebody waits,
     the answer to a call that was sent later, or in the same tick, has said that nobody does. */
  :: d_step {
#ifdef BROKEN_REUSE_PAST_LINGER
       phase[me] == Idle && HAS_TOKENS(me) ->
#else
       phase[me] == Idle && HAS_TOKENS(me) && quietFor[PROCESS(me)] > 0 ->
#endif
       printf("id %d of process %d: a caller reuses the permit\n", me, PROCESS(me));
       for (k : 0 .. N-1) {
         assert(place[k] == 0 || PROCESS(k) == PROCESS(me) || waited[k] < LINGER)
       }
       assert(LINGER - quietFor[PROCESS(me)] <= busy[PROCESS(me)]);
#ifdef BROKEN_REUSE_STARTS_WINDOW
       window[me] = TTL;
#endif
       beginNextLease(me);
       check() }

  /* A permit is renewed whether it is idle or not, and granted anew now and then. */
#ifndef WITHOUT_RENEWALS
  :: d_step { HAS_PERMIT(me) && renewal[me] > 0 ->
       printf("id %d of process %d: the process sends a renewal\n", me, PROCESS(me));
       renewal[me] = 0 }
#endif
  :: d_step { HAS_PERMIT(me) && again[me] > 0 ->
       printf("id %d of process %d: the process asks for the permit anew\n", me, PROCESS(me));
       again[me] = 0 }

  /* Redis runs acquire. */
  :: d_step { acquire[me] != None && REDIS_HAS_TOKENS ->
       printf("id %d of process %d: Redis runs acquire\n", me, PROCESS(me));
       if :: expiry[me] == 0 -> joinQueue(me) :: else fi;
       promote();
       sayWhetherSomebodyWaits(PROCESS(me), acquire[me]);
       if
       :: expiry[me] > 0 && phase[me] == Asked -> grant(me, acquire[me])
       :: expiry[me] > 0 && phase[me] != Asked -> raise(me, TTL)
       :: else
       fi;
       check() }

  /* Redis runs the acquire of a permit that is held. If it is not, the id does not join the queue. */
  :: d_step { again[me] != None && REDIS_HAS_TOKENS ->
       printf("id %d of process %d: Redis runs acquire for a permit that is held\n", me, PROCESS(me));
       promote();
       sayWhetherSomebodyWaits(PROCESS(me), again[me]);
       if
       :: expiry[me] > 0 && HAS_PERMIT(me) -> grant(me, again[me])
       :: expiry[me] > 0 && phase[me] == Over -> raise(me, TTL)
#ifdef BROKEN_AGAIN_ADDS
       :: expiry[me] == 0 -> expiry[me] = TTL
#endif
       :: else
       fi;
       check() }

  /* Redis runs renew. Its answer does not say whether somebody waits. */
  :: d_step { renewal[me] != None && expiry[me] > 0 ->
       printf("id %d of process %d: Redis runs renew\n", me, PROCESS(me));
       raise(me, TTL);
       if
       :: HAS_PERMIT(me) && TTL > renewal[me] && answer[me] < TTL - renewal[me] -> answer[me] = TTL - renewal[me]
       :: else
       fi;
#ifdef BROKEN_RENEWAL_SAYS_QUIET
       if :: renewal[me] < LINGER && saysQuiet[PROCESS(me)] > renewal[me] -> saysQuiet[PROCESS(me)] = renewal[me] :: else fi;
#endif
       check() }

  /* Redis runs the release. */
  :: d_step { phase[me] == Over && acquire[me] == None ->
       printf("id %d of process %d: Redis runs the release\n", me, PROCESS(me));
       expiry[me] = 0;
       if :: place[me] == 1 -> headFor = 0 :: else fi;
       leaveQueue(me);
       check() }

  /* Any call may promote. */
  :: d_step { place[me] == 1 ->
       printf("id %d of process %d: it is the head of the queue, and Redis promotes it if there is room\n", me, PROCESS(me));
       promote(); check() }
  :: d_step { place[me] > 0 ->
       printf("id %d of process %d: the queue drops it, because its process does not poll\n", me, PROCESS(me));
       if :: place[me] == 1 -> headFor = 0 :: else fi;
       leaveQueue(me);
       check() }

  /* An answer arrives. The head of the queue is passed over from now on, not while a process does not know what it has. */
  :: d_step { answer[me] > window[me] && phase[me] == Asked ->
       printf("id %d of process %d: an answer arrives; the window ends in %d\n", me, PROCESS(me), answer[me]);
       window[me] = answer[me];
       age[me] = ((TTL - answer[me] < HANDOVER) -> TTL - answer[me] : HANDOVER);
       if :: headFor > age[me] -> headFor = age[me] :: else fi;
#ifdef WITH_TOKENS
       token[me] = offered[me]; lease[me] = 0; offered[me] = 0;
#endif
       beginLease(me);
       check() }
  :: d_step { answer[me] > window[me] && HAS_PERMIT(me) ->
       printf("id %d of process %d: an answer arrives; the window ends in %d\n", me, PROCESS(me), answer[me]);
       window[me] = answer[me];
#ifdef WITH_TOKENS
       if :: offered[me] > token[me] -> token[me] = offered[me]; lease[me] = 0 :: else fi;
       offered[me] = 0;
#endif
       check() }
  od
}

/* The processes of the next P numbers are the processes of the fleet, with what each knows of the waiters elsewhere. */
#undef me
#define me (_pid - N)

active [P] proctype Process() {
end:
  do
  /* It counts from when the call was sent. The grants that it has count anew, too. */
  :: d_step { saysQuiet[me] != None ->
       printf("        process %d: an answer arrives; nobody waited %d ticks ago\n", me, saysQuiet[me]);
#ifdef BROKEN_LINGER_FROM_RECEIPT
       quietFor[me] = LINGER;
#else
       if :: quietFor[me] < LINGER - saysQuiet[me] -> quietFor[me] = LINGER - saysQuiet[me] :: else fi;
#endif
       for (k : 0 .. N-1) {
         if :: PROCESS(k) == me && HAS_PERMIT(k) && age[k] > saysQuiet[me] -> age[k] = saysQuiet[me] :: else fi
       }
       check() }
  /* Answers to calls that were sent before do not count any more. */
  :: d_step { saysBusy[me] != None ->
       printf("        process %d: an answer arrives; somebody waited %d ticks ago\n", me, saysBusy[me]);
       busy[me] = saysBusy[me];
       saysBusy[me] = None;
#ifndef BROKEN_OLD_QUIET
       if :: saysQuiet[me] != None && saysQuiet[me] > busy[me] -> saysQuiet[me] = None :: else fi;
#endif
#ifndef BROKEN_REUSE_THOUGH_BUSY
       quietFor[me] = 0;
       endLingering(me);
#endif
       check() }
  od
}

active proctype Clock() {
end:
  do
  :: d_step { true ->
       printf("        a tick passes\n");
       for (t : 0 .. N-1) {
         if :: expiry[t] > 0 -> expiry[t]-- :: else fi;
         if :: answer[t] > 0 -> answer[t]-- :: else fi;
         acquire[t] = None;
         again[t] = None;
         if :: renewal[t] < TTL -> renewal[t]++ :: else fi;
         if :: place[t] > 0 && waited[t] < LINGER -> waited[t]++ :: else fi;
#ifdef WITH_TOKENS
         if :: answer[t] == 0 -> offered[t] = 0 :: else fi;
#endif
         if
         :: HAS_PERMIT(t) ->
            window[t]--;
            if :: age[t] < HANDOVER -> age[t]++ :: else fi;
            if :: window[t] == 0 -> finish(t) :: else fi
         :: else
         fi
       }
       if :: headFor < HANDOVER -> headFor++ :: else fi;
       for (t : 0 .. P-1) {
         /* An answer to a call from before Linger changes nothing. */
         if :: saysQuiet[t] < LINGER - 1 -> saysQuiet[t]++ :: else -> saysQuiet[t] = None fi;
         if :: saysBusy[t] < LINGER -> saysBusy[t]++ :: else -> saysBusy[t] = None fi;
         if :: busy[t] < LINGER -> busy[t]++ :: else fi;
         if :: quietFor[t] > 0 -> quietFor[t]-- :: else fi;
#if !defined(WITH_LATE_TIMERS) && !defined(BROKEN_IDLE_STAYS)
         if :: quietFor[t] == 0 -> endLingering(t) :: else fi
#endif
       }
#ifndef WITH_LATE_TIMERS
       /* Nobody in another process has waited for as long as Linger for a permit that nobody uses. */
       for (t : 0 .. N-1) {
         for (k : 0 .. N-1) {
           assert(phase[t] != Idle || place[k] == 0 || PROCESS(k) == PROCESS(t) || waited[k] < LINGER)
         }
       }
#endif
       check() }
  od
}
