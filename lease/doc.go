// Package lease limits how many processes of a fleet use a resource at once. It counts them with a semaphore on
// Redis. A lease is a context: while a process holds a permit, the lease's context lives; the moment the permit can
// no longer be trusted, the context is cancelled and says why.
//
//	m, err := lease.Open("redis://localhost:6379", lease.Options{})
//	gpu, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 8})
//	l, err := gpu.Acquire(ctx)
//	defer l.Release()
//	err = work(l.Context())
//
// # What to use
//
//   - [Semaphore.Do] runs a function under a permit; [Semaphore.Acquire] and [Semaphore.TryAcquire] return
//     the [Lease].
//   - [Semaphore.Group] is an errgroup whose limit is the semaphore's, for the whole fleet.
//   - [Semaphore.Permit] is one permit for a process, shared by all who use it there. It works like the object of
//     PassBuddy for Node, and so does [Bind].
//   - Package leasehttp is middleware for net/http: it gives each HTTP request a permit, and refuses requests over
//     the limit. Middleware for other protocols can use the same functions: [MaxWait], [Lease.ReleaseAsync],
//     [Permit.UseWithin] and [Permit.ReleaseAsync].
//   - Package leasetest is for the tests of code that uses leases.
//
// # Options
//
// The defaults of [Config], and what they are for:
//
//	Name           required            with the prefix it is the Redis key: up to 512 bytes of printable UTF-8, no }
//	Capacity       required            permits for all processes together
//	TTL            15 s                how long a permit outlives its holder; 50 ms to 24 h
//	Margin         TTL/20, 5 ms least  how much earlier than Redis a permit is no longer trusted; TTL/6 at most
//	RetryInterval  500 ms              longest time between two polls of a waiter; TTL/3 at most
//	MaxAttempts    no bound            refusals before a waiter gives up
//	MaxWait        no bound            how long Acquire waits; negative: one attempt
//	MaxHold        no bound            how long a lease is held
//	Strict         no                  fail while another process declares another capacity or TTL
//	Handover       5 ms                how long a permit may pass between callers of one process; negative: never
//	Slots          no                  each lease has numbers that no other live lease has; Capacity is 1000 at most
//	MinReplicas    0                   how many replicas must have acknowledged a grant or a renewal
//	Linger         off                 how long a released permit may serve the next caller here; TTL/2 at most
//
// Those of [Options], for all semaphores of a manager: Prefix "passbuddy" starts every key, Owner host/pid stands in every
// permit's id, Clock is the system's, Logger slog.Default at Warn, and there are no Tracers. An acquire may have a [Weight] (1), a
// [Label], and a [MaxWait] and [MaxHold] in place of the Config's.
//
// # Life of a lease
//
// Acquire writes a permit to Redis, which expires after the TTL. While the lease is held, a renewer moves the expiry
// on. When the caller's context ends, the permit is renewed all the same until the caller calls Release: so the caller
// can clean up first, under [Lease.Held]. When a holder crashes, its permit expires after at most one TTL.
//
// # The trust window
//
// The clock of Redis decides when a permit expires, inside scripts. Each reply carries that clock's reading and
// the permit's expiry. The process adds their difference to the time just before it sent the call, so that
// neither a slow reply nor another machine's clock can make it trust a permit for too long. The trust window ends one
// Margin earlier. Renewals begin after a third of the window and are repeated. The process gives a renewal up after an
// eighth of the TTL or two seconds, whichever is less. Where the server has lately been slow the process waits for longer: up to
// twice the server's recent answer time, and never longer than half of the window. An answer that comes later, but
// before the window's end, still extends the window. When no answer comes, a timer that depends on nothing else cancels
// the contexts at the window's end.
//
// # Promises
//
// While Redis keeps its data and its clock does not jump, the permits of all live contexts together never exceed the
// capacity. A context is cancelled before Redis gives its permit away, also when Redis hangs, when a connection takes
// data and never answers, and when a call of the client never returns. Trouble shorter than a third of the
// TTL costs no lease. A lost lease never comes back. Err and context.Cause always have a reason. Nothing
// leaks: a cancelled acquire or a lost reply may leave a permit in Redis; the process gives it back with one of its next
// calls, and if none gets through, it expires after one TTL.
//
// # Not promised
//
// The library does not guarantee exclusion across a failover that loses acknowledged writes; across a step of the
// server's clock, until the next call (see below); when Redis evicts keys (maxmemory-policy must be noeviction); and for
// a process that was paused, after it wakes up and until it has looked at the clock. Where that matters, write with the
// fencing token ([Lease.Token]) to a store that refuses older ones.
//
// It does not guarantee the order of waiters where the server loses the queue: in a failover that loses acknowledged
// writes, or a restart without its data. Each poll tells Redis for how long its callers have waited, so they get their
// places back when their process's first poll reaches the new server; a process polls at every RetryInterval, in an
// outage too. Until then the server knows nothing of them: a permit that is free goes to those who have polled. A
// replica that takes over lacks the latest writes, and so the places of those who came last; a replica that has just
// been attached may have no data. A waiter that the new server has in its queue keeps at least the place that
// it has there: a poll can move it forward, never back.
//
// # Steps of the server's clock
//
// Redis decides by its clock when a permit expires. A step ahead makes all permits expire earlier by as much.
// The first answer after the step reveals it; the error is at most the time that the answer took. The process then
// shortens every window on that server by the step, once, and renews all permits at once. So a step that leaves time
// for one renewal costs no lease, and a step that is shorter than the Margin breaks nothing, even before it is found.
// Between a longer step and the next answer, Redis may give away a permit that is still trusted. The same holds where
// another node of a Cluster, or a replica, takes over with another clock. After a step back, what is in Redis lasts for
// longer by as much. Where a process crashes, the first caller that finds no room, or finds a waiter of the crashed process
// at the head of the queue, shortens them: the permits and the waiters of the crashed process then last for at most the
// longest TTL that any process has declared since the semaphore was last empty. [Semaphore.Inspect] shows what is there.
// Expiries that PassBuddy for Node has written are left as they are. When this machine's wall clock jumps ahead, leases can
// be lost; when it jumps back, none is.
//
// # Pausing and suspending
//
// A process that was paused finds its leases ended: the lease's own contexts, and those of [Permit.Use],
// look at the clock in Err and Done, before any timer has run. When one of them ends, every context derived from it
// ends too. A derived context, an errgroup's too, does not look at the clock itself: it ends when the timer runs. So
// before an action that cannot be undone, look at the lease:
//
//	if l := lease.FromContext(ctx); l == nil || !l.Valid() { … }
//
// The monotonic clock stands still while a machine is suspended. So the library takes a time as reached when either
// the monotonic or the wall clock has reached it. A forward step of the wall clock can cost a lease.
//
// # Waiting
//
// Redis keeps the waiters of the whole fleet in a queue, in order of arrival. When a release, or whatever else,
// has freed a permit, a script gives it to the head of the queue and notifies that waiter's process (PUBLISH). That process
// computes the trust window from the latest call that was answered. Notifications may be lost:
// each process with waiters polls at every RetryInterval and just after the first permit's expiry, in one call for all
// of them, which also says that they are alive. A process puts only as many of its callers into the queue as the
// capacity could serve at once, and one more. For the time Config.Handover after a grant, the callers of one process may hand the
// permit over to each other without asking Redis. A request of several permits ([Weight]) is served in its turn, when
// all of them are free.
//
// Bound the wait with [MaxWait], not with a timeout of the context: that would end the lease as well. A caller that
// holds a permit and waits for another of the same semaphore can wait for ever: when all permits are held like this,
// nobody goes on (a deadlock).
//
// # Permits that linger
//
// On a hot path a process takes the permit again a moment after it has given it back, and pays two trips to Redis each
// time. With Config.Linger a released permit stays with its process for that long, and serves the next caller there, of the
// same weight and label, without Redis. The lease ends as always, before Release returns; the next caller has a lease of its own,
// with a larger token.
//
// A process may do so only for Linger after the last answer of Redis that nobody waits. While permits are reused, it asks
// again in the background, twice in each Linger. So a waiter in another process waits at most Linger plus one trip for an
// unused permit, whatever messages are lost. A permit that lingers is renewed; Redis counts it, and
// [Semaphore.Inspect] shows it. It goes back after Linger without a user, at once when a caller asks for another weight or
// label, and with Shutdown and Close. A pause, a smaller capacity and a revocation take effect on it after Linger at the
// latest.
//
// Do not use it where a TryAcquire in another process, or a MaxWait shorter than Linger, must succeed whenever no permit is
// in use.
//
// # Slots and labels
//
// With Config.Slots a permit is one of Capacity things that have numbers, such as the GPUs of a machine. A lease gets as many
// numbers as it weighs, the smallest that are free, and [Lease.Slots] returns them. No two live leases have the same, through
// hand-over, lingering, losses, crashes and a failover without loss of data, as long as all processes of the semaphore set
// Slots. A number is free again when its permit is: after a crash when the TTL is over. After a capacity has shrunk, new
// leases get numbers below it; those who hold keep theirs. The numbers live in Redis beside the permits. If their
// key alone is deleted, {prefix-name}:slots, two leases may have the same number.
//
// [Label] says what a permit is for. It is part of the permit's id, so that [Semaphore.Inspect], tracers, the log and
// whoever looks into Redis see it. The same holds for those who wait.
//
// # Replicas that acknowledge
//
// A failover to a replica that has not got the latest writes forgets grants, and gives their permits away a second time. With
// Config.MinReplicas n, a grant and a renewal count only when n replicas have acknowledged them (Redis's WAIT, over the same
// connection): an acquire without them gives its permit back and fails with a [ReplicaError] in a RedisError, and a renewal
// without them does not extend the lease, which ends in time if that lasts. With as many as the server has replicas, no
// failover to one of them gives a permit away twice. It costs each grant and each renewal a trip to the replicas; semaphores
// of the same process that have no MinReplicas do not wait for replicas. A failing or slow replica stops new leases: have more replicas
// than MinReplicas asks for where that is unacceptable, and know that a failover may then choose one that lags.
//
// What it does not cover: a server that loses data when it starts again (have it write them down, or not start by itself),
// places in the queue, an operator's orders, and a slot of a Cluster that moves for longer than the trust window, in which
// renewals are refused. Several independent servers are not replicas of each other.
//
// # The client
//
// Any redis.UniversalClient but a Ring works. With ContextTimeoutEnabled, as [Open] sets it, the client frees the
// connection of a call as soon as the library gives the call up.
//
// If a service uses all connections of its client's pool, renewals wait for one; when they wait for a whole window,
// leases are lost. Give the manager a client of its own then, as Open does: it needs few connections, whatever the
// number of leases.
//
// # Versions mixed during a deploy
//
// While a deploy is under way, old and new processes share the semaphore, and PassBuddy for Node may be
// among them. Each sends its own version of the scripts; no version replaces another. Where their
// Configs differ, each goes by its own:
//
//   - Capacity: an acquire of a process is granted while fewer permits are held than its own Config says. The permits of
//     all live contexts together never exceed the largest capacity that any process used since the oldest of them was acquired.
//     A smaller capacity is in force when the last old process is gone and its leases have ended.
//   - TTL and Margin: the holder's own apply to its permit; no other process shortens it.
//   - Prefix and Name must be the same: others are another semaphore.
//
// In one process too, handles of one name may have different Configs: see [Semaphore].
package lease
