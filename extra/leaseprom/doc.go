// Package leaseprom has Prometheus metrics of leases.
//
// [New] makes a [Tracer]: register it, and put it into lease.Options.Tracers. It counts what this process does:
//
//	passbuddy_acquire_duration_seconds     histogram, by passbuddy_outcome: granted, handed_over, lingered, at_capacity,
//	                                       canceled, closed, failed; the last also by error_type
//	passbuddy_lease_duration_seconds       histogram, by passbuddy_end: released, lost, max_hold, closed, abandoned
//	passbuddy_renewal_slack                histogram: which share of the trust window was left at a renewal
//	passbuddy_lease_count                  leases that live, exactly
//	passbuddy_permit_usage                 permits that they have
//	passbuddy_waiter_count                 callers that acquire
//	passbuddy_renewal_failures_total       by error_type: timeout, unavailable, permission, _OTHER
//	passbuddy_release_failures_total       likewise
//	passbuddy_lease_losses_total           by passbuddy_reason: expired, gone, revoked
//	passbuddy_disagreements_total          answers of Redis that say that another process declares other limits
//	passbuddy_telemetry_dropped_total      calls that the tracer was not told because it was slow
//
// [NewFleet] makes a [Fleet], a collector of what Redis says of all processes together, for chosen semaphores:
// passbuddy_fleet_permit_limit, _permit_usage, _waiter_count, _waiter_oldest_age_seconds, _waiter_first_weight, _paused,
// _disagreement, _holder_count, _holder_oldest_age_seconds, and _up, which is 0 where Redis does not answer.
//
// Each series has the label passbuddy_semaphore. Package leaseotel has the same names through OpenTelemetry, and spans;
// extra/dashboards has a Grafana dashboard and alert rules for both. A lease that is lost because the server's clock has
// stepped counts as expired.
package leaseprom
