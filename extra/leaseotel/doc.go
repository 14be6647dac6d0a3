// Package leaseotel has OpenTelemetry metrics and traces of leases.
//
// [New] makes a [Tracer]: put it into lease.Options.Tracers. It depends on the API alone; the program sets up the SDK. It
// measures what this process does:
//
//	passbuddy.acquire.duration     histogram, s, by passbuddy.outcome: granted, handed_over, lingered, at_capacity, canceled,
//	                               closed, failed; the last also by error.type
//	passbuddy.lease.duration       histogram, s, by passbuddy.end: released, lost, max_hold, closed, abandoned
//	passbuddy.renewal.slack        histogram, 1: which share of the trust window was left at a renewal
//	passbuddy.lease.count          up-down counter, {lease}: leases that live, exactly
//	passbuddy.permit.usage         up-down counter, {permit}: permits that they have
//	passbuddy.waiter.count         up-down counter, {waiter}: callers that acquire
//	passbuddy.renewal.failures     counter, by error.type: timeout, unavailable, permission, _OTHER
//	passbuddy.release.failures     likewise
//	passbuddy.lease.losses         counter, by passbuddy.reason: expired, gone, revoked
//	passbuddy.disagreements        counter: answers of Redis that say that another process declares other limits
//	passbuddy.telemetry.dropped    counter: calls that the tracer was not told because it was slow
//
// [ObserveFleet] has gauges of what Redis says of all processes together, for chosen semaphores: passbuddy.fleet.permit.limit,
// permit.usage, waiter.count, waiter.oldest_age, waiter.first_weight, paused, disagreement, holder.count,
// holder.oldest_age, and up, which is 0 where Redis does not answer.
//
// Each has the attribute passbuddy.semaphore. Package leaseprom has the same without OpenTelemetry; where these metrics go
// to Prometheus, use the exporter's option WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes): its
// default depends on a global setting. A lease that is lost because the server's clock has stepped counts as expired.
//
// # Spans
//
// "acquire NAME" is a child of the caller's span, with the events queued and granted. "hold NAME" is written when the
// lease has ended, with its real beginning: a process that is killed leaves no span open. It has the same parent, or the
// acquire where the caller has no span, and a link to its acquire. Where a permit passes inside the process, without
// Redis, the acquire has a link to the hold that had it before. Of a permit that comes from Redis it is not known who had
// it. The id, the token and the label of a lease are attributes of spans alone.
//
// The status is unset on success, when the caller's context has ended, and when a single attempt is refused. Else it is
// Error, and error.type says more.
//
// # Beside other instrumentation
//
// The hooks of redisotel make a span of each command, renewals too: have the sampler or the processor drop those that have
// no parent. redisotel-native labels metrics by channel, and each manager listens to one of its own: set
// HidePubSubChannelNames.
package leaseotel
