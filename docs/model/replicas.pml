/* MinReplicas: a grant and a renewal count only when the replicas have acknowledged them. Are there ever more trusted
   permits than the capacity, across failovers too?

   A replica has what the master had at some earlier moment. It lags for as long as it likes, and catches up at once: so it
   stands at any earlier moment that a run chooses. A failover may come at any time, any number of times, and choose any
   replica. The old master then is a replica. It keeps the data that it had, and may be chosen before it has caught up.

   The network is the adversary of lease.pml. A promotion may choose any waiter: which one changes nothing here, and a
   failover may lose places in the queue. The clocks of all servers agree. */

#include "redis.pml"            /* expiry is the master's; waits stands for place */

#ifndef R
#define R 1                     /* replicas. MinReplicas is as many. */
#endif

/* The life of an id. */
#define Fresh 0                 /* nobody has used it */
#define Asked 1                 /* a caller waits for a permit under it */
#define Held 2                  /* a lease has it */
#define Over 3                  /* the lease has ended, or the wait has */

byte phase[N];
byte window[N];                 /* ticks for which the process trusts the permit */
byte acquire[N] = None;         /* the age of an acquire that Redis may still run: 0, because it refuses an older one */
byte renewal[N] = None;         /* the age of the latest renewal */
bit waits[N];                   /* the master's queue has the id */
byte answer[N];                 /* the longest window that an answer of the master brings, whoever has acknowledged it */
byte acknowledged[N];           /* the longest window that an answer brings which the replicas have acknowledged */

/* The replicas, one after the other, with N entries each. */
#define AT(r, x) ((r) * N + (x))
byte theirExpiry[R * N];
bit theirWaits[R * N];
byte theirAnswer[R * N];        /* the longest window among the answers of the master whose writes this replica has */

#ifdef BROKEN_NOTICE_TRUSTED
byte notice[N];                 /* ticks until the expiry that a notification carries */
#endif

#define IS_WANTED(x) (phase[x] == Asked || phase[x] == Held)

inline finish(x) {
  phase[x] = Over;
  window[x] = 0;
  answer[x] = 0;
  acknowledged[x] = 0;
  for (k : 0 .. R-1) { theirAnswer[AT(k, x)] = 0 }
  if :: renewal[x] != None -> renewal[x] = TTL :: else fi;
#ifdef BROKEN_NOTICE_TRUSTED
  notice[x] = 0;
#endif
  skip
}

/* Ends a step, as in lease.pml: the trusted permits are no more than the capacity, and neither are the master's members. An
   id becomes a new one when no server has it and no acquire may still run. */
inline check() {
  trusted = 0;
  for (k : 0 .. N-1) {
    if :: window[k] > 0 -> trusted = trusted + 1 :: else fi;
    last = expiry[k] + waits[k];
    for (first : 0 .. R-1) { last = last + theirExpiry[AT(first, k)] + theirWaits[AT(first, k)] }
    if
    :: phase[k] == Over && acquire[k] == None && last == 0 -> phase[k] = Fresh; renewal[k] = None
    :: else
    fi
  }
  assert(trusted <= CAP);
  countMembers();
  assert(members <= CAP);
  clear()
}

inline reply(x, age) {
  if :: TTL > age && answer[x] < TTL - age -> answer[x] = TTL - age :: else fi
}

/* Writes reach each replica in order: what all replicas have is what the slowest one has. */
inline acknowledge(x) {
#ifdef BROKEN_TOO_FEW_REPLICAS
  ticks = 0;
  for (first : 0 .. R-1) {
    if :: theirAnswer[AT(first, x)] > ticks -> ticks = theirAnswer[AT(first, x)] :: else fi
  }
#else
  ticks = TTL;
  for (first : 0 .. R-1) {
    if :: theirAnswer[AT(first, x)] < ticks -> ticks = theirAnswer[AT(first, x)] :: else fi
  }
#endif
  if :: ticks > acknowledged[x] -> acknowledged[x] = ticks :: else fi
}

#define me _pid
#define BEFORE ((me + N - 1) % N)

active [N] proctype Id() {
end:
  do
  /* The process. */
  :: d_step { phase[me] == Fresh && (me == 0 || phase[BEFORE] != Fresh) ->
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

  /* The master runs scripts. */
  :: d_step { acquire[me] != None ->
       printf("id %d: the master runs acquire\n", me);
       countMembers();
       if
       :: expiry[me] > 0 || members < CAP -> raise(me, TTL); waits[me] = 0
       :: else -> waits[me] = 1
       fi;
       if :: expiry[me] > 0 && IS_WANTED(me) -> reply(me, acquire[me]) :: else fi;
       check() }
  :: d_step { renewal[me] != None && expiry[me] > 0 ->
       printf("id %d: the master runs renew\n", me);
       raise(me, TTL);
       if :: phase[me] == Held -> reply(me, renewal[me]) :: else fi;
       check() }
  :: d_step { phase[me] == Over && acquire[me] == None ->
       printf("id %d: the master runs the release\n", me);
       expiry[me] = 0; waits[me] = 0; check() }
  :: d_step { waits[me] ->
       printf("id %d: it waits, and the master promotes it if there is room\n", me);
       countMembers();
       if
       :: members < CAP ->
          waits[me] = 0;
          raise(me, TTL);
#ifdef BROKEN_NOTICE_TRUSTED
          if :: IS_WANTED(me) -> notice[me] = expiry[me] :: else fi
#endif
       :: else
       fi;
       check() }
  :: d_step { waits[me] ->
       printf("id %d: the queue drops it, because its process does not poll\n", me);
       waits[me] = 0; check() }

  /* An answer arrives. It counts if the replicas have acknowledged the write. If they have not, the process gives a grant
     back, which is a step above, and a renewal moves no window. A notification only starts a poll. */
  :: d_step { acknowledged[me] > window[me] && IS_WANTED(me) ->
       printf("id %d: an acknowledged answer arrives; the window ends in %d\n", me, acknowledged[me]);
       phase[me] = Held; window[me] = acknowledged[me]; check() }
#ifdef BROKEN_UNACKNOWLEDGED_GRANT
  :: d_step { answer[me] > 0 && phase[me] == Asked ->
       printf("id %d: an unacknowledged answer arrives, and the lease begins; the window ends in %d\n", me, answer[me]);
       phase[me] = Held; window[me] = answer[me]; check() }
#endif
#ifdef BROKEN_UNACKNOWLEDGED_RENEWAL
  :: d_step { answer[me] > window[me] && phase[me] == Held ->
       printf("id %d: an unacknowledged answer arrives; the window ends in %d\n", me, answer[me]);
       window[me] = answer[me]; check() }
#endif
#ifdef BROKEN_NOTICE_TRUSTED
  :: d_step { notice[me] > window[me] && IS_WANTED(me) ->
       printf("id %d: a notification arrives; the window ends in %d\n", me, notice[me]);
       phase[me] = Held; window[me] = notice[me]; check() }
#endif
  od
}

/* The processes of the next R numbers are the replicas. */
#undef me
#define me (_pid - N)

active [R] proctype Replica() {
end:
  do
  :: d_step { true ->
       printf("        replica %d catches up\n", me);
       for (t : 0 .. N-1) {
         theirExpiry[AT(me, t)] = expiry[t];
         theirWaits[AT(me, t)] = waits[t];
         if :: answer[t] > theirAnswer[AT(me, t)] -> theirAnswer[AT(me, t)] = answer[t] :: else fi;
         acknowledge(t)
       }
       check() }

  /* What the old master has answered is not acknowledged any more, unless it was already. */
  :: d_step { true ->
       printf("        a failover: replica %d becomes the master\n", me);
       for (t : 0 .. N-1) {
         last = expiry[t]; expiry[t] = theirExpiry[AT(me, t)]; theirExpiry[AT(me, t)] = last;
         last = waits[t]; waits[t] = theirWaits[AT(me, t)]; theirWaits[AT(me, t)] = last;
         answer[t] = 0;
         for (k : 0 .. R-1) { theirAnswer[AT(k, t)] = 0 }
       }
       check() }
  od
}

active proctype Clock() {
end:
  do
  :: d_step { true ->
       printf("        a tick passes\n");
       for (t : 0 .. R * N - 1) {
         if :: theirExpiry[t] > 0 -> theirExpiry[t]-- :: else fi;
         if :: theirAnswer[t] > 0 -> theirAnswer[t]-- :: else fi
       }
       for (t : 0 .. N-1) {
         if :: expiry[t] > 0 -> expiry[t]-- :: else fi;
         if :: answer[t] > 0 -> answer[t]-- :: else fi;
         if :: acknowledged[t] > 0 -> acknowledged[t]-- :: else fi;
#ifdef BROKEN_NOTICE_TRUSTED
         if :: notice[t] > 0 -> notice[t]-- :: else fi;
#endif
         acquire[t] = None;
         if :: renewal[t] < TTL -> renewal[t]++ :: else fi;
         if
         :: phase[t] == Held ->
            window[t]--;
            if :: window[t] == 0 -> finish(t) :: else fi
         :: else
         fi
       }
       check() }
  od
}
