// Package leasegrpc runs gRPC calls under permits: interceptors for servers, in a module of their own, so that programs
// without gRPC do not link it.
//
//	limit := leasegrpc.Options{MaxWait: time.Second}
//	server := grpc.NewServer(
//		grpc.ChainUnaryInterceptor(leasegrpc.Unary(render, limit)),
//		grpc.ChainStreamInterceptor(leasegrpc.Stream(render, limit)),
//	)
//
// # What to use
//
//   - [Unary] and [Stream] give each call a permit of one semaphore, and refuse calls over the limit.
//   - [UnaryBy] and [StreamBy] do so with a semaphore for each call, one per method or tenant for example. They let a call
//     through without a permit where the function returns none: a health check, for example.
//
// # What a handler sees
//
// Its context is the lease's. It ends when the lease is lost, when the call is canceled, and at its deadline;
// [lease.FromContext] returns the lease. The permit is held for as long as the handler runs, and goes back when it has
// returned or panicked. The answer does not wait for Redis.
//
// # What a client gets
//
//	without a permit because all are taken    RESOURCE_EXHAUSTED, with a RetryInfo that says when to try again
//	because Redis is out of reach, or the     UNAVAILABLE, with a RetryInfo; trouble with Redis is logged with the
//	manager is closed                         semaphore's logger, by each interceptor once in an hour
//	because its own deadline is over, or it   DEADLINE_EXCEEDED, CANCELED
//	was canceled while it waited
//	because pick returned an error            that error if it has a status, INTERNAL otherwise
//	when the lease was lost, or the manager   UNAVAILABLE, whatever the handler made of its context's end: nobody knows how
//	closed, and the handler returned an error far the work has come, so only an idempotent call is to be repeated
//	when the lease was lost and the handler   what the handler returned: it has done its work
//	returned none
//
// Options.OnError replaces these answers, and may run the handler without a permit.
package leasegrpc
