/* The core: grants, renewals, releases, promotions and their notifications. Are there ever more trusted permits than the
   capacity?

   The network is an adversary. Redis may run a call at any time after it was sent, any number of times, in any order with
   others, or never. An answer or a notification may arrive at any time, any number of times, or never. Two copies of a
   call do the same in Redis, and the copy that was sent last is answered with the longest window. So the model keeps the
   age of the latest call of each verb, and of all answers that are under way the longest window.

   All clocks run at one rate. A process may stop at any time, and then sends nothing more. */

#ifdef WITH_HEAVY               /* id 0 asks for two permits */
#define WEIGHT(x) ((x) == 0 -> 2 : 1)
#define IS_LIKE_OTHERS(x) ((x) > 0)
#endif
#ifdef WITH_TTLS                /* the process of id 0 declares a longer TTL than the others */
#define TTL_OF(x) ((x) == 0 -> TTL : TTL - 1)
#define IS_LIKE_OTHERS(x) ((x) > 0)
#else
#define TTL_OF(x) TTL
#endif
#ifdef WITH_SHORTER_RENEWALS    /* a process shortens its TTL after the grant */
#define RENEWAL_TTL(x) (TTL - 1)
#else
#define RENEWAL_TTL(x) TTL_OF(x)
#endif
#ifndef IS_LIKE_OTHERS
#define IS_LIKE_OTHERS(x) true
#endif

#include "redis.pml"

#if !defined(MARGIN) || defined(BROKEN_NO_MARGIN)
#undef MARGIN
#define MARGIN 0                /* by how many ticks a window ends before the expiry */
#endif
#ifndef ATTEMPT
#define ATTEMPT 1               /* Redis refuses an acquire that is so many ticks old (notAfter) */
#endif

/* The life of an id. */
#define Fresh 0                 /* nobody has used it */
#define Asked 1                 /* a caller waits for a permit under it */
#define Held 2                  /* a lease has it */
#define Over 3                  /* the lease has ended, or the wait has */

#ifdef BROKEN_NO_DEADLINE
#define OLDEST_ACQUIRE TTL      /* an older one is answered with no window either */
#else
#define OLDEST_ACQUIRE (ATTEMPT - 1)
#endif
#define OLDEST_RENEWAL TTL      /* likewise */

byte phase[N];
byte window[N];                 /* ticks for which the process trusts the permit */
byte acquire[N] = None;         /* the age of the latest acquire that Redis may still run */
byte renewal[N] = None;         /* the age of the latest renewal */
byte answer[N];                 /* the longest window that an answer brings, if it arrives now */
byte notice[N];                 /* ticks until the expiry that a notification carries; 0: none is under way */
byte sample[N] = None;          /* by how much later than it was sent Redis ran an acquire that was answered; plus 1 */
byte release[N];                /* 0: none was sent; 1: one was, while an acquire might still run; 2: the last one was */
bit  gone[N];                   /* Redis has run the last release */

#ifdef WITH_CLOCK_STEP
bit stepped;                    /* the server's clock has stepped ahead by one tick */
#endif
#ifdef WITH_REVOKE
bit revoked[N];                 /* the permit is under its other name: it counts, and a renewal does not find it */
#define IS_MEMBER(x) (expiry[x] > 0 && !revoked[x])
#else
#define IS_MEMBER(x) (expiry[x] > 0)
#endif
#ifdef BROKEN_KEY_LIFETIME
byte lifetime;                  /* of the sorted set, in ticks */
#define KEEP_KEY(upTo) lifetime = upTo
#else
#define KEEP_KEY(upTo) skip
#endif
#ifdef BROKEN_WINDOW_FROM_RECEIPT
bit received[N];
#endif
#ifdef BROKEN_NOTICE_FROM_RECEIPT
bit noticed[N];
#endif
#ifdef BROKEN_ID_AGAIN
bit usedAgain[N];
#endif

#define IS_WANTED(x) (phase[x] == Asked || phase[x] == Held)

/* Nothing that is under way for this id can do anything: the sorted set and the queue do not have it, Redis runs no acquire
   for it any more, a renewal or a release changes nothing, and the process ignores the answers. */
#if defined(BROKEN_RENEWAL_ADDS)
#define IS_DONE_WITH(x) (phase[x] == Over && expiry[x] == 0 && place[x] == 0 && acquire[x] == None && renewal[x] == None)
#elif defined(BROKEN_LATE_ANSWER)
#define IS_DONE_WITH(x) (phase[x] == Over && expiry[x] == 0 && place[x] == 0 && acquire[x] == None && answer[x] == 0)
#else
#define IS_DONE_WITH(x) (phase[x] == Over && expiry[x] == 0 && place[x] == 0 && acquire[x] == None)
#endif

/* Ends a step. It judges the promises:

    - The trusted permits together are no more than the capacity.
    - The members of the sorted set are no more than the capacity.
    - When a process crashes, its permit is free after that process's TTL.
    - An id does not return after its last release.

   Then an id that is done with becomes a new one. So a run uses any number of ids, N at a time. */
inline check() {
  trusted = 0;
  for (k : 0 .. N-1) {
    if :: window[k] > 0 -> trusted = trusted + WEIGHT(k) :: else fi;
    assert(expiry[k] <= TTL_OF(k));
    assert(!gone[k] || expiry[k] == 0 && place[k] == 0);
    if
    :: IS_DONE_WITH(k) -> phase[k] = Fresh; renewal[k] = None; release[k] = 0; gone[k] = 0
    :: else
    fi
  }
  assert(trusted <= CAP);
  countMembers();
  assert(members <= CAP);
  clear()
}

/* The lease ends, or the wait. */
inline finish(x) {
  phase[x] = Over;
  window[x] = 0;
  notice[x] = 0;
  sample[x] = None;
#ifndef BROKEN_LATE_ANSWER
  answer[x] = 0;
  if :: renewal[x] != None -> renewal[x] = OLDEST_RENEWAL :: else fi;
#endif
#ifdef BROKEN_WINDOW_FROM_RECEIPT
  received[x] = 0;
#endif
#ifdef BROKEN_NOTICE_FROM_RECEIPT
  noticed[x] = 0;
#endif
#ifdef BROKEN_NO_DEADLINE
  if :: acquire[x] != None -> acquire[x] = OLDEST_ACQUIRE :: else fi;
#endif
  skip
}

/* A script answers a call of that age: the permit lasts for so many ticks. The window counts from when the call was sent. */
inline reply(x, age, lasts) {
  if :: lasts > age + MARGIN && answer[x] < lasts - age - MARGIN -> answer[x] = lasts - age - MARGIN :: else fi;
#ifdef BROKEN_WINDOW_FROM_RECEIPT
  received[x] = 1;
#endif
  skip
}

/* A script that the process of id `by` has sent gives free permits to the heads of the queue. Such a permit expires when the
   head's process is known to live no longer: its TTL after its latest poll, which may be less than that from now. */
inline promote(by, upTo) {
  do
  :: findHead();
     countMembers();
     if
     :: first < N && members + WEIGHT(first) <= CAP ->
        leaveQueue(first);
#ifdef BROKEN_TTL_OF_CALLER
        expiry[first] = TTL_OF(by);
#else
        expiry[first] = ((upTo < TTL_OF(first)) -> upTo : TTL_OF(first));
#endif
        KEEP_KEY(TTL_OF(by));
        if
        :: IS_WANTED(first) ->
           notice[first] = expiry[first];
#ifdef BROKEN_NOTICE_FROM_RECEIPT
           noticed[first] = 1;
#endif
        :: else
        fi
     :: else -> break
     fi
  od
}

/* The processes of the first N numbers are the ids. */
#define me _pid
#define BEFORE ((me + N - 1) % N)

active [N] proctype Id() {
end:
  do
  /* The process. (Ids that are alike are used in order, which saves states.) */
  :: d_step { phase[me] == Fresh && (me == 0 || phase[BEFORE] != Fresh || !IS_LIKE_OTHERS(BEFORE)) ->
       printf("id %d: a caller asks for a permit\n", me);
       phase[me] = Asked; acquire[me] = 0 }
  :: d_step { phase[me] == Asked && acquire[me] > 0 ->
       printf("id %d: the waiter polls\n", me);
       acquire[me] = 0 }
  :: d_step { phase[me] == Held && renewal[me] > 0 ->
       printf("id %d: the process sends a renewal\n", me);
       renewal[me] = 0 }
  :: d_step { IS_WANTED(me) ->
       printf("id %d: the lease ends, or the wait\n", me);
       finish(me); check() }
  :: d_step { phase[me] == Over && release[me] == 0 && acquire[me] != None ->
       printf("id %d: the process sends a release; an acquire may still run\n", me);
       release[me] = 1 }
  :: d_step {
#if defined(BROKEN_ONE_RELEASE)
       phase[me] == Over && release[me] == 0 ->
#elif defined(BROKEN_NO_DEADLINE)
       phase[me] == Over && release[me] < 2 && (acquire[me] == None || acquire[me] == OLDEST_ACQUIRE) ->
#else
       phase[me] == Over && release[me] < 2 && acquire[me] == None ->
#endif
       printf("id %d: the process sends the last release\n", me);
       release[me] = 2 }
#ifdef BROKEN_RELEASE_FIRST
  :: d_step { phase[me] == Held && release[me] == 0 ->
       printf("id %d: the process sends a release, and ends the lease later\n", me);
       release[me] = 1 }
#endif
#ifdef BROKEN_ID_AGAIN
  :: d_step { phase[me] == Over && release[me] > 0 && !usedAgain[me] ->
       printf("id %d: the process asks again under an id that it has released\n", me);
       usedAgain[me] = 1; phase[me] = Asked; acquire[me] = 0 }
#endif

  /* Redis runs acquire: a holder is granted the permit again, everybody else joins the queue, and the script promotes. */
  :: d_step { acquire[me] <= OLDEST_ACQUIRE ->
       printf("id %d: Redis runs acquire\n", me);
       if
       :: IS_MEMBER(me) ->
#ifndef BROKEN_NOT_EXTENDED
          raise(me, TTL_OF(me));
          KEEP_KEY(TTL_OF(me));
#endif
          skip
       :: !IS_MEMBER(me) && expiry[me] == 0 -> joinQueue(me)
       :: else                  /* revoked */
       fi;
       promote(me, TTL);
       if
       :: IS_WANTED(me) ->
          if :: sample[me] > acquire[me] + 1 -> sample[me] = acquire[me] + 1 :: else fi;
          if
          :: IS_MEMBER(me) ->
#ifdef BROKEN_NOT_EXTENDED
             ticks = TTL_OF(me);
#else
             ticks = ((expiry[me] < TTL_OF(me)) -> expiry[me] : TTL_OF(me));
#endif
             reply(me, acquire[me], ticks)
          :: else
          fi
       :: else
       fi;
       check() }

  /* Redis runs renew: it raises the expiry of a member, and adds none. */
  :: d_step { renewal[me] != None ->
       printf("id %d: Redis runs renew\n", me);
       if
       :: IS_MEMBER(me) ->
          raise(me, RENEWAL_TTL(me));
          KEEP_KEY(RENEWAL_TTL(me));
#ifdef BROKEN_LATE_ANSWER
          if :: phase[me] == Held || phase[me] == Over -> reply(me, renewal[me], RENEWAL_TTL(me)) :: else fi
#else
          if :: phase[me] == Held -> reply(me, renewal[me], RENEWAL_TTL(me)) :: else fi
#endif
#ifdef BROKEN_RENEWAL_ADDS
       :: expiry[me] == 0 -> expiry[me] = RENEWAL_TTL(me)
#endif
       :: else
       fi;
       check() }

  /* Redis runs a release, which is a ZREM: what it frees goes to nobody yet. The promotion is a call of its own. */
  :: d_step { release[me] > 0 && (expiry[me] > 0 || place[me] > 0 || release[me] == 2 && !gone[me]) ->
       printf("id %d: Redis runs the release\n", me);
       expiry[me] = 0;
#ifdef WITH_REVOKE
       revoked[me] = 0;
#endif
       leaveQueue(me);
       if :: release[me] == 2 -> gone[me] = 1 :: else fi;
       check() }

  /* Any call may promote: the second one of a release, an acquire, an operator's. */
  :: d_step { place[me] == 1 ->
       printf("id %d: it is the head of the queue, and Redis promotes it if there is room\n", me);
       promote((me + 1) % N, TTL); check() }
#ifdef WITH_LATE_POLLS
  :: d_step { place[me] == 1 ->
       printf("id %d: Redis promotes it if there is room, and its latest poll is long ago\n", me);
       promote((me + 1) % N, 1); check() }
#endif
  :: d_step { place[me] > 0 ->
       printf("id %d: the queue drops it, because its process does not poll\n", me);
       leaveQueue(me); check() }
#ifdef WITH_REVOKE
  :: d_step { IS_MEMBER(me) ->
       printf("id %d: an operator revokes the permit\n", me);
#ifdef BROKEN_REVOKE_FREES
       expiry[me] = 0;
#else
       revoked[me] = 1;
#endif
       check() }
#endif

  /* An answer arrives. It gives the lease, or moves its window; and it brings no lease back. */
  :: d_step { answer[me] > window[me] && IS_WANTED(me) ->
       printf("id %d: an answer arrives; the window ends in %d\n", me, answer[me]);
       phase[me] = Held; window[me] = answer[me]; check() }
#ifdef BROKEN_LATE_ANSWER
  :: d_step { answer[me] > 0 && phase[me] == Over ->
       printf("id %d: an answer arrives and brings the lease back; the window ends in %d\n", me, answer[me]);
       phase[me] = Held; window[me] = answer[me]; check() }
#endif
#ifdef BROKEN_WINDOW_FROM_RECEIPT
  :: d_step { received[me] && IS_WANTED(me) ->
       printf("id %d: an answer arrives; from now the window ends in %d\n", me, TTL_OF(me) - MARGIN);
       received[me] = 0; phase[me] = Held; window[me] = TTL_OF(me) - MARGIN; check() }
#endif

  /* A notification arrives. By its sample of the server's clock the process knows how far ahead the expiry is. */
  :: d_step { notice[me] > 0 && IS_WANTED(me) && sample[me] != None && notice[me] + 1 > sample[me] + MARGIN + window[me] ->
       printf("id %d: a notification arrives; the window ends in %d\n", me, notice[me] + 1 - sample[me] - MARGIN);
       phase[me] = Held; window[me] = notice[me] + 1 - sample[me] - MARGIN; check() }
#ifdef BROKEN_NOTICE_FROM_RECEIPT
  :: d_step { noticed[me] && phase[me] == Asked ->
       printf("id %d: a notification arrives; from now the window ends in %d\n", me, TTL_OF(me) - MARGIN);
       noticed[me] = 0; phase[me] = Held; window[me] = TTL_OF(me) - MARGIN; check() }
#endif
#ifdef BROKEN_NOTICE_RELEASES
  :: d_step { notice[me] > 0 && phase[me] == Held && release[me] == 0 ->
       printf("id %d: a notification arrives, and the process gives the permit back, although it holds it\n", me);
       release[me] = 1 }
#endif
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
         if :: notice[t] > 0 -> notice[t]-- :: else fi;
         if
         :: acquire[t] < OLDEST_ACQUIRE -> acquire[t]++
#ifndef BROKEN_NO_DEADLINE
         :: acquire[t] == OLDEST_ACQUIRE -> acquire[t] = None
#endif
         :: else
         fi;
         if :: renewal[t] < OLDEST_RENEWAL -> renewal[t]++ :: else fi;
#ifdef WITH_REVOKE
         if :: expiry[t] == 0 -> revoked[t] = 0 :: else fi;
#endif
         if
         :: phase[t] == Held ->
            window[t]--;
            if :: window[t] == 0 -> finish(t) :: else fi
         :: else
         fi
       }
#ifdef BROKEN_KEY_LIFETIME
       if
       :: lifetime > 0 ->
          lifetime--;
          if :: lifetime == 0 -> for (t : 0 .. N-1) { expiry[t] = 0 } :: else fi
       :: else
       fi;
#endif
       check() }
#ifdef WITH_CLOCK_STEP
  :: d_step { !stepped ->
       printf("        the server's clock steps ahead by a tick\n");
       stepped = 1;
       for (t : 0 .. N-1) {
         if :: expiry[t] > 0 -> expiry[t]-- :: else fi;
         if :: notice[t] > 0 -> notice[t]-- :: else fi;
         if :: sample[t] != None && sample[t] > 0 -> sample[t]-- :: else fi
       }
       check() }
#endif
  od
}
